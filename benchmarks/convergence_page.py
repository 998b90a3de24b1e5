"""The tables of `docs/experiments/convergence.md`, from what `benchmarks.convergence` stored.

python -m benchmarks.convergence_page
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "experiments" / "convergence.md"
RESULTS = tuple(ROOT / "benchmarks" / "results" / f"{name}.json" for name in ("convergence", "convergence_short"))
"""Files of runs, of which those that are there are shown."""
BEGIN, END = "<!-- tables: benchmarks.convergence_page -->", "<!-- end of tables -->"
SAID = {"pixels": ", equal pixels", "steps": ", equal steps", "seconds": ", equal seconds"}
CLOCKS = {"wall": "seconds", "cpu": "seconds of the processor"}


def tables(content: dict[str, Any]) -> str:
    """One table for each capture and number of steps, in Markdown."""
    runs = content["runs"]
    groups = dict.fromkeys((run["capture"], run["of_steps"]) for run in runs)
    parts = []
    for capture, steps in groups:
        own = [run for run in runs if (run["capture"], run["of_steps"]) == (capture, steps)]
        seeds = sorted({run["seed"] for run in own})
        head = f"**{capture}**, beside {steps:,} steps of `{content['base']}`; seeds {_listed(seeds)}"
        clock, base = CLOCKS[content["clock"]], content["base"]
        columns = f"| arm | steps | {clock}, first seed | Gaussians | PSNR, dB | beside `{base}`, dB |"
        parts.append("\n".join([head, "", columns, "|---|---|---|---|---|---|", *_rows(content, own)]))
    return "\n\n".join(parts)


def _rows(content: dict[str, Any], runs: list[dict[str, Any]]) -> Iterator[str]:
    timed = min(run["seed"] for run in runs)
    of_base = {run["seed"]: run["psnr"] for run in runs if run["arm"] == content["base"]}
    for arm in dict.fromkeys(run["arm"] for run in runs):
        for budget in SAID:
            own = [run for run in runs if (run["arm"], run["budget"]) == (arm, budget)]
            if not own:
                continue
            seconds = [run["clock_seconds"] for run in own if run["seed"] == timed]
            differences = [run["psnr"] - of_base[run["seed"]] for run in own if run["seed"] in of_base]
            said = content["said"][arm] + ("" if arm == content["base"] else SAID[budget])
            cells = (
                said,
                f"{statistics.fmean(run['steps'] for run in own):,.0f}",
                f"{statistics.fmean(seconds):.0f}" if seconds else "",
                f"{statistics.fmean(run['gaussians'] for run in own):,.0f}",
                _spread([run["psnr"] for run in own], ""),
                "" if arm == content["base"] or not differences else _spread(differences, "+"),
            )
            yield f"| {' | '.join(cells)} |"


def _spread(values: list[float], sign: str) -> str:
    """Mean and standard deviation over seeds, with a typographic minus."""
    mean = f"{statistics.fmean(values):{sign}.2f}".replace("-", "−")
    return mean + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def stored() -> list[dict[str, Any]]:
    """The contents of the files that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS if path.exists()]


def page(text: str, contents: list[dict[str, Any]]) -> str:
    """The page with its tables replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    shown = "\n\n".join(map(tables, contents))
    return f"{before}{BEGIN}\n\n{shown}\n\n{END}{after}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), stored()), encoding="utf-8")


if __name__ == "__main__":
    main()
