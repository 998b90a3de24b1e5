"""Reconstructions of captures: held-out PSNR over seconds and steps, processor time and peak memory.

    python -m benchmarks.reconstruct CAPTURE... [--preset fast] [--options steps=1500 rate=1.0] [--seeds 0 1 2]
        [--targets 25 29] [--json-file FILE]

Each run is a process of its own. Seconds are those of the steps: start-up, evaluations and checkpoints are left out,
and stated beside them. "waited" is the share of them in which steps waited for photographs. Options are those of
`splatlearn reconstruct`, as NAME=VALUE with values of Python.
"""

from __future__ import annotations

import ast
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.common import table
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.reconstruction.results.scene_run import scene_bytes
from splatlearn.runs.folder import environment
from splatlearn.runs.log import LOG

EVALUATIONS = 20
"""Of each run, evenly spread over its steps."""


@dataclass(frozen=True)
class Options:
    """What is reconstructed, and how."""

    captures: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of captures."""
    preset: Preset = "fast"
    """Preset of all runs."""
    options: tuple[str, ...] = ()
    """Options of the runs, as NAME=VALUE."""
    seeds: tuple[int, ...] = (0,)
    """One run for each."""
    targets: tuple[float, ...] = ()
    """dB of held-out PSNR whose seconds are stated."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Run the reconstructions, and print a table and JSON."""
    given = dict(parsed(each) for each in options.options)
    runs = [
        run_apart(capture, options.preset, {**given, "seed": seed}, options.targets)
        for capture in options.captures
        for seed in options.seeds
    ]
    result = {"environment": environment(), "preset": options.preset, "options": given, "runs": runs}
    columns = ("capture", "seed", "Gaussians", "steps", "s", "waited", "CPU s", "dB", "SSIM", "MB")
    rows = [
        (
            run["capture"],
            str(run["seed"]),
            f"{run['gaussians']:,}",
            str(run["steps"]),
            f"{run['seconds']:.1f}",
            f"{100 * run['waited']:.1f} %",
            f"{run['cpu']:.0f}",
            f"{run['psnr']:.2f}",
            f"{run['ssim']:.4f}",
            f"{run['peak_mb']:.0f}",
        )
        for run in runs
    ]
    print(table(columns, rows))
    for capture in options.captures:
        scores = [run["psnr"] for run in runs if run["capture"] == Path(capture).name]
        if len(scores) > 1:
            print(f"{Path(capture).name}: {statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} dB")
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def curve(log: Path) -> list[dict[str, float]]:
    """The scores of held-out photographs in a run's log: steps, seconds, PSNR, SSIM and the number of Gaussians."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = ("seconds", "psnr", "ssim", "gaussians")
    return [
        {"step": each["step_of_status"], **{name: each[name] for name in names}} for each in entries if "psnr" in each
    ]


def seconds_to(scores: list[dict[str, float]], target: float) -> float | None:
    """The first seconds at which a PSNR was reached, None where it was not."""
    return next((each["seconds"] for each in scores if each["psnr"] >= target), None)


def run_apart(capture: str, preset: Preset, options: dict[str, Any], targets: tuple[float, ...]) -> dict[str, Any]:
    """Reconstruct a capture in a process of its own, and return what there is to say of it.

    `targets`: PSNRs in dB whose seconds are wanted.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (capture, preset, options, targets))


def _run(capture: str, preset: Preset, options: dict[str, Any], targets: tuple[float, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begun, used = time.perf_counter(), time.process_time()
        steps = options.get("steps")
        more = {"evaluate_every": max(1, steps // EVALUATIONS)} if steps else {}
        result = reconstruct(capture, out, preset=preset, **{**more, **options})
        scores = curve(out / LOG)
        assert result.scores is not None, "a capture without held-out photographs has no curve"
        return {
            "capture": Path(capture).name,
            "seed": options["seed"],
            "gaussians": result.count,
            "bytes": scene_bytes(out),
            "steps": result.steps,
            "seconds": result.seconds,
            "waited": result.waited / max(result.seconds, 1e-9),
            "wall": time.perf_counter() - begun,
            "cpu": time.process_time() - used,
            "psnr": result.scores.psnr,
            "ssim": result.scores.ssim,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            "seconds_to": {str(target): seconds_to(scores, target) for target in targets},
            "curve": scores,
        }


def parsed(text: str) -> tuple[str, Any]:
    """The name and the value of an option."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
