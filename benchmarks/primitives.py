"""Captures reconstructed by each primitive at an equal budget: PSNR, count, bytes and seconds.

    python -m benchmarks.primitives CAPTURE... [--numbers 40000] [--steps 1000] [--max-size 100] [--seeds 0 1 2]
        [--options degree=1] [--json-file FILE]

The budget is that of the numbers of all splats: 10 of a Gaussian and the harmonics of its colour (3 each of its place
and scales, 3 of its rotation and its opacity), one more of a generalised exponential, one less of a surfel, and
3·P + 3 of a convex of P points, its harmonics beside. All runs have the same steps, start and options, but for the
growth: convexes have a strategy of their own. "bytes" is the size of the scene's file, "s" the time of all steps, in
which others on the machine have a share; "CPU s" is the process's own. A start takes at most a fifth of the splats.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.common import table
from benchmarks.reconstruct import parsed, run_apart
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.runs.folder import environment

COLUMNS = ("capture", "drawn as", "count", "PSNR, dB", "SSIM", "bytes", "s", "CPU s")


@dataclass(frozen=True)
class Options:
    """What is reconstructed, and how."""

    captures: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of captures."""
    primitives: tuple[str, ...] = ("gaussian", "ges", "surfel", "convex")
    """What is compared."""
    numbers: int = 40_000
    """Numbers of all splats of a scene."""
    points: int = 6
    """Points of a convex."""
    steps: int = 1_000
    """Steps of each run."""
    max_size: int = 100
    """Longer side of the photographs, pixels."""
    degree: int = 1
    """Degree of the harmonics."""
    preset: Preset = "fast"
    """Preset of all runs."""
    options: tuple[str, ...] = ()
    """Further options of the runs, as NAME=VALUE."""
    seeds: tuple[int, ...] = (0,)
    """One run of each primitive for each."""
    json_file: Path | None = None
    """File for all numbers, written after each run."""


def most(primitive: str, options: Options) -> int:
    """The number of splats whose numbers fill the budget."""
    form = {"gaussian": 10, "ges": 11, "surfel": 9, "convex": 3 * options.points + 3}[primitive]
    return max(1, options.numbers // (form + 3 * coefficient_count(options.degree)))


def main(options: Options) -> None:
    """Run all reconstructions, and print a table."""
    given = dict(parsed(each) for each in options.options)
    runs: list[dict[str, Any]] = []
    for capture in options.captures:
        for primitive in options.primitives:
            for seed in options.seeds:
                own = {
                    "primitive": primitive, "max_gaussians": most(primitive, options), "steps": options.steps,
                    "max_size": options.max_size, "degree": options.degree, "convex_points": options.points,
                    "seed": seed,
                }  # fmt: skip
                runs.append({"primitive": primitive, **run_apart(capture, options.preset, {**own, **given}, ())})
                if options.json_file is not None:
                    said = {"environment": environment(), "preset": options.preset, "options": {**own, **given}}
                    options.json_file.write_text(json.dumps({**said, "runs": runs}, indent=1) + "\n")
    print(table(COLUMNS, rows_of(runs)))


def rows_of(runs: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each capture and primitive, means and deviations over seeds."""
    found = []
    for capture, primitive in dict.fromkeys((run["capture"], run["primitive"]) for run in runs):
        each = [run for run in runs if (run["capture"], run["primitive"]) == (capture, primitive)]
        found.append([
            capture, primitive, f"{statistics.mean(run['gaussians'] for run in each):,.0f}",
            _mean([run["psnr"] for run in each], 2), _mean([run["ssim"] for run in each], 3),
            f"{statistics.mean(run['bytes'] for run in each):,.0f}",
            *(f"{statistics.mean(run[name] for run in each):.0f}" for name in ("seconds", "cpu")),
        ])  # fmt: skip
    return found


def _mean(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
