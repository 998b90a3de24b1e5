"""Time, memory and accuracy of rendering on the CPU, every contender on the same scenes in one process.

    python -m benchmarks.render --threads 1 2 --json render.json

Run from the root of the repository, with nothing else running. Times are medians over interleaved rounds, in
milliseconds per image; all of them stand in the JSON file. Compositing is timed as each backend's forward and backward,
`render` as users call it, through autograd. Every contender's result is compared with the dense formula in float64.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from splatlearn.runs.folder import environment

from . import memory, whole_render
from .common import DEFAULT_SCENES, SCENES, Scene, Task, figures, interleave, median, scene_inputs, table
from .contenders import DENSE, SCALAR, Contender, contenders, errors, reference

PARTS = ("composite", "memory", "render")
FORWARD, BOTH = "forward", "forward+backward"
HEAVY_WORK = 2**20
"""Pixel-splat pairs of an image from which on the dense backend gets one image instead of the batch."""
TOLERANCE = 1e-3
"""Relative L2 error from which on a contender computes something else; rounding of the cut-offs stays far below."""


def composite_rows(scene: Scene, options: argparse.Namespace) -> list[dict]:
    """One row for each contender and number of threads: timings, error, and which images."""
    inputs, gradients = scene_inputs(scene)
    chosen = [each for name, each in contenders().items() if not options.contenders or name in options.contenders]
    torch.set_num_threads(max(options.threads))
    expected = reference(inputs, scene.size, gradients)
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        checks = {each.name: errors(each, inputs, scene.size, gradients, expected) for each in chosen}
        tasks = [task for each in chosen for task in _tasks(each, scene, options)]
        timings = interleave(tasks)
        for each in chosen:
            times = {kind: timings[f"{each.name} {kind}"] for kind in (FORWARD, BOTH)}
            rows.append(
                {
                    "scene": scene.name,
                    "contender": each.name,
                    "threads": threads,
                    "images": 1 if _is_heavy(each, scene) else scene.images,
                    "milliseconds_per_image": times,
                    "median": {kind: median(values) for kind, values in times.items()},
                    "relative_l2_errors": checks[each.name],
                }
            )
    return rows


def _is_heavy(contender: Contender, scene: Scene) -> bool:
    return contender.name == DENSE and scene.work > HEAVY_WORK


def _tasks(contender: Contender, scene: Scene, options: argparse.Namespace) -> list[Task]:
    inputs, gradients = scene_inputs(scene)
    images, rounds = scene.images, options.rounds
    if _is_heavy(contender, scene):
        images, rounds = 1, min(rounds, options.dense_rounds)
        means2d, conics, opacities, colors, background = (tensor[:1] for tensor in inputs)
        inputs = (means2d, conics, opacities, colors, background)
        gradients = (gradients[0][:1], gradients[1][:1])

    def forward() -> object:
        return contender.forward(*inputs, scene.size)

    def both() -> object:
        return contender.both(inputs, scene.size, gradients)

    return [
        Task(f"{contender.name} {kind}", call, images, rounds, contender.prepare)
        for kind, call in ((FORWARD, forward), (BOTH, both))
    ]


def add_ratios(rows: list[dict]) -> None:
    """How many times faster (forward+backward) each row is than dense, than scalar, and than one thread."""
    medians = {(row["scene"], row["contender"], row["threads"]): row["median"][BOTH] for row in rows}
    for row in rows:
        scene, name, threads = row["scene"], row["contender"], row["threads"]
        opponents = {
            "dense": (scene, DENSE, threads),
            "scalar": (scene, SCALAR, threads),
            "one_thread": (scene, name, 1),
        }
        row["times_faster_than"] = {
            key: medians[place] / row["median"][BOTH] for key, place in opponents.items() if place in medians
        }


def composite_table(rows: list[dict], megabytes: dict[str, dict[str, float]]) -> str:
    """The rows as text; `megabytes` by scene and contender."""
    heads = ("scene", "contender", "threads", "forward", "fwd+bwd", "x dense", "x scalar", "x 1 thread", "error", "MB")
    lines = []
    for row in rows:
        faster = row["times_faster_than"]
        lines.append(
            (
                row["scene"],
                row["contender"] + (" *" if row["images"] == 1 else ""),
                str(row["threads"]),
                *(figures(row["median"][kind]) for kind in (FORWARD, BOTH)),
                *(figures(faster.get(key)) for key in ("dense", "scalar", "one_thread")),
                f"{max(row['relative_l2_errors'].values()):.0e}",
                figures(megabytes.get(row["scene"], {}).get(row["contender"])),
            )
        )
    notes = (
        "Milliseconds and MB of peak extra memory per image; x: how many times faster forward+backward is;\n"
        "error: the largest relative L2 of colour, transmittance and five gradients, one image, against float64."
    )
    if any(row["images"] == 1 for row in rows):
        notes += "\n* timed on one image and in few rounds (--dense-rounds), for it takes seconds; the others on eight."
    return f"{table(heads, lines)}\n{notes}"


def render_rows(scene: Scene, options: argparse.Namespace) -> list[dict]:
    """One row for each step and number of threads."""
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        timings = whole_render.time_render(scene, options.rounds)
        steps = (whole_render.COMPOSITE, whole_render.PROJECT, whole_render.RENDER, whole_render.RENDER_WITH_DEPTH)
        alone = median(timings[f"{whole_render.COMPOSITE} {BOTH}"])
        for step in steps:
            times = {kind: timings[f"{step} {kind}"] for kind in (FORWARD, BOTH)}
            medians = {kind: median(values) for kind, values in times.items()}
            row = {"scene": scene.name, "step": step, "threads": threads, "milliseconds_per_image": times}
            rows.append({**row, "median": medians, "times_composite": medians[BOTH] / alone})
    return rows


def render_table(rows: list[dict]) -> str:
    heads = ("scene", "step", "threads", "forward", "fwd+bwd", "/ composite")
    lines = [
        (row["scene"], row["step"], str(row["threads"]))
        + tuple(figures(row["median"][kind]) for kind in (FORWARD, BOTH))
        + (figures(row["times_composite"]),)
        for row in rows
    ]
    notes = "Milliseconds per image through autograd, from Gaussians (composite: from their splats) and back to them."
    return f"{table(heads, lines)}\n{notes}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=DEFAULT_SCENES)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--contenders", nargs="+", choices=list(contenders()), help="default: all")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense-rounds", type=int, default=2, help="of the dense backend on scenes it is slow on")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    options = parser.parse_args(arguments)
    processors = os.cpu_count() or 1
    for name, value in (("rounds", options.rounds), ("dense-rounds", options.dense_rounds)):
        if value < 1:
            parser.error(f"--{name}: expected at least 1, got {value}")
    for value in options.threads:
        if not 1 <= value <= processors:
            parser.error(f"--threads: expected 1 to {processors} on this machine, got {value}")
    return options


def main() -> int:
    """Measure, write the JSON file, print the tables last; returns 1 when a contender's result is wrong."""
    options = parse()
    facts = {
        **environment(),
        "numba": version("numba"),
        "processors": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
    }
    composited, rendered, megabytes = [], [], {}
    for scene in (SCENES[name] for name in options.scenes):
        print(f"{scene.name}: {scene.images} images, sigma {scene.sigma:g} px, {scene.count} splats", file=sys.stderr)
        if "composite" in options.part:
            composited += composite_rows(scene, options)
        if "memory" in options.part:
            names = options.contenders or list(contenders())
            megabytes[scene.name] = {name: memory.measure(scene, name, max(options.threads)) for name in names}
        if "render" in options.part:
            rendered += render_rows(scene, options)
    add_ratios(composited)
    if options.json:
        results = {"composite": composited, "megabytes_per_image": megabytes, "render": rendered}
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        options.json.write_text(json.dumps({"date": date, "environment": facts, **results}, indent=1) + "\n")
    print(
        f"{facts['processor']}, {facts['processors']} processors, torch {torch.__version__}, "
        f"load average before the run {facts['load_average_before']:.1f} (expected near 0)"
    )
    if composited:
        print(f"\nCompositing\n{composite_table(composited, megabytes)}")
    elif megabytes:
        memory_rows = [(scene, name, figures(mb)) for scene, each in megabytes.items() for name, mb in each.items()]
        print(f"\n{table(('scene', 'contender', 'MB'), memory_rows)}\nPeak extra memory, MB per image.")
    if rendered:
        print(f"\nRendering\n{render_table(rendered)}")
    wrong = {row["contender"] for row in composited if max(row["relative_l2_errors"].values()) > TOLERANCE}
    for name in sorted(wrong):
        print(f"{name}: differs from the formula by more than {TOLERANCE:g}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
