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
RESULTS = ROOT / "benchmarks" / "results" / "convergence.json"
BEGIN, END = "<!-- tables: benchmarks.convergence_page -->", "<!-- end of tables -->"
CLOCKS = {"wall": "seconds", "cpu": "seconds of the processor"}


def tables(content: dict[str, Any]) -> str:
    """One table for each capture and number of steps, in Markdown."""
    runs = content["runs"]
    groups = dict.fromkeys((run["capture"], run["of_steps"]) for run in runs)
    parts = []
    for capture, steps in groups:
        own = [run for run in runs if (run["capture"], run["of_steps"]) == (capture, steps)]
        seeds = sorted({run["seed"] for run in own})
        head = f"**{capture}**, as many pixels as {steps:,} steps of `{content['base']}` render; seeds {_listed(seeds)}"
        clock, base = CLOCKS[content["clock"]], content["base"]
        columns = f"| arm | steps | {clock} | Gaussians | PSNR, dB | beside `{base}`, dB |"
        parts.append("\n".join([head, "", columns, "|---|---|---|---|---|---|", *_rows(content, own)]))
    return "\n\n".join(parts)


def _rows(content: dict[str, Any], runs: list[dict[str, Any]]) -> Iterator[str]:
    of_base = {run["seed"]: run["psnr"] for run in runs if run["arm"] == content["base"] and run["budget"] == "pixels"}
    for arm in dict.fromkeys(run["arm"] for run in runs):
        for budget in ("pixels", "seconds"):
            own = [run for run in runs if (run["arm"], run["budget"]) == (arm, budget)]
            if not own:
                continue
            differences = [run["psnr"] - of_base[run["seed"]] for run in own if run["seed"] in of_base]
            said = content["said"][arm] + (", equal seconds" if budget == "seconds" else "")
            cells = (
                said,
                f"{statistics.fmean(run['steps'] for run in own):,.0f}",
                f"{statistics.fmean(run['clock_seconds'] for run in own):.0f}",
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


def page(text: str, content: dict[str, Any]) -> str:
    """The page with its tables replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(content)}\n\n{END}{after}"


def main() -> None:
    """Write the page."""
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
