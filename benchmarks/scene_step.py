"""Steps of fitting a scene on a CPU: render, loss, gradients and Adam, part by part, beside the floor of the same run.

    python -m benchmarks.scene_step [--threads 1 2] [--rounds 7] [--rows 640x480-100k] [--before] [--json-file FILE]

Scenes are random: Gaussians fill the view of one camera, their sizes are log-normal (standard deviation .7 of the
logarithm between Gaussians and .6 between axes, as in fitted scenes) around a median in pixels that the table states,
opacities are sigmoids of a normal number times 2, harmonics are of degree 3. "pairs" are those of a Gaussian and a
pixel in which it is visible. The floor is what the pairs cost at the rate of large splats, measured in the same run,
plus the bytes of the parameters read twice and the gradients written once, at the rate of a copy. Times are
milliseconds of the clock; "cpu" are those of all processors. `--before` adds the way for few Gaussians, which all
scenes took before. `--requests` times what "weights" and "absgrad" cost, `--filters` the filters beside one another,
and `--crossover` compares both ways for sets of 256 to 16,384 Gaussians at 64, 224 and 400 px.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import table
from splatlearn import Gaussians, render
from splatlearn.core.cameras import Camera
from splatlearn.fitting import GaussianAdam, photometric_loss
from splatlearn.rendering import scenes
from splatlearn.rendering.formula import FILTERS
from splatlearn.runs.folder import environment


@dataclass(frozen=True)
class Row:
    """One scene: the size of the picture, the number of Gaussians, and their median standard deviation in pixels."""

    height: int
    width: int
    count: int
    median: float


ROWS = {
    "400x400-30k": Row(400, 400, 30_000, 2.0),
    "400x400-100k": Row(400, 400, 100_000, 1.2),
    "640x480-26k": Row(480, 640, 25_784, 3.0),
    "640x480-100k": Row(480, 640, 100_000, 2.0),
    "640x480-500k": Row(480, 640, 500_000, 1.0),
    "1600x1064-100k": Row(1064, 1600, 100_000, 4.0),
    "1600x1064-500k": Row(1064, 1600, 500_000, 2.0),
    "1600x1064-1M": Row(1064, 1600, 1_000_000, 1.6),
}
LARGE = Row(480, 640, 600, 30.0)
"""Splats whose pairs are nearly all that a step costs: the rate of the floor."""
RATES = {"means": 1.6e-4, "scales": 5e-3, "quaternions": 1e-3, "opacities": 2.5e-2, "sh": 2.5e-3}
COPIED = 2**26
"""Numbers of the copy that measures the rate of memory: 256 MiB."""
NUMBERS = 59
"""Numbers of a Gaussian with harmonics of degree 3."""
Timed = tuple[float, float]
"""Milliseconds of the clock, and of all processors."""


def parameters_of(row: Row, seed: int = 0) -> dict[str, Tensor]:
    """Gaussians between 2 and 10 units before the camera, a twentieth of them beside its picture on each side."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(row.count, *shape, generator=generator)

    focal = camera_of(row).fx
    depths = 2 + 8 * torch.rand(row.count, generator=generator)
    places = torch.rand(row.count, 2, generator=generator) * 1.1 - 0.55
    across = places * torch.tensor([row.width, row.height]) / focal * depths[:, None]
    sizes = (0.6 * normal(3)).exp() * (0.7 * normal(1)).exp() * row.median * (depths / focal)[:, None]
    return {
        "means": torch.cat([across, depths[:, None]], -1),
        "scales": sizes,
        "quaternions": normal(4),
        "opacities": torch.sigmoid(2 * normal()),
        "sh": 0.2 * normal(16, 3),
    }


def camera_of(row: Row) -> Camera:
    """A pinhole camera at the origin, with a focal length of .9 widths."""
    focal = 0.9 * row.width
    return Camera(row.width, row.height, focal, focal, row.width / 2, row.height / 2)


def timed(work: Callable[[], Any]) -> tuple[Timed, Any]:
    clock, processors = time.perf_counter(), time.process_time()
    made = work()
    return (1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - processors)), made


def middle(values: list[Timed]) -> dict[str, float]:
    """Medians, and the least time of all processors: on a machine that others use, the figure that says most."""
    clock, processors = zip(*values, strict=True)
    return {"ms": statistics.median(clock), "cpu_ms": statistics.median(processors), "least_cpu_ms": min(processors)}


def measure(row: Row, rounds: int) -> dict[str, Any]:
    """Whole steps of a scene, and their parts."""
    camera = camera_of(row)
    start = parameters_of(row)
    optimizer = GaussianAdam({name: each.clone() for name, each in start.items()}, RATES)
    target = torch.rand(1, 3, row.height, row.width, generator=torch.Generator().manual_seed(1))
    times: dict[str, list[Timed]] = {name: [] for name in ("forward", "loss", "backward", "adam", "step")}
    info = render(Gaussians.of(start), camera, "black", depth=False, info=("weights",)).info
    assert info is not None and info.pixels is not None
    for each in range(rounds + 1):
        # Each step starts from the same scene: Adam's time does not depend on the numbers.
        for name, tensor in optimizer.parameters.items():
            tensor.data.copy_(start[name])
        stages: list[Timed] = []
        gaussians = Gaussians.of(optimizer.parameters)
        took, made = timed(lambda gaussians=gaussians: render(gaussians, camera, "black", depth=False))
        stages.append(took)
        took, loss = timed(lambda made=made: photometric_loss(made.color[None], target))
        stages.append(took)
        took, _ = timed(loss.backward)
        stages.append(took)
        took, _ = timed(optimizer.step)
        stages.append(took)
        del made, loss
        optimizer.zero_grad()
        if each == 0:
            continue
        for name, took in zip(times, stages, strict=False):
            times[name].append(took)
        times["step"].append((sum(one for one, _ in stages), sum(one for _, one in stages)))
    found = {name: middle(values) for name, values in times.items()}
    rendering = [
        (one[0] + two[0], one[1] + two[1]) for one, two in zip(times["forward"], times["backward"], strict=True)
    ]
    return {
        "visible": len(info.ids),
        "pairs": int(info.pixels.double().sum()),
        "intersections": info.intersections,
        "parts": found,
        "render": middle(rendering),
    }


def copy_rate() -> float:
    """Bytes a millisecond of one processor that a copy reads and writes."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    target.copy_(source)
    return 8 * COPIED / min(timed(lambda: target.copy_(source))[0][1] for _ in range(5))


def floor_of(row: Row, found: dict[str, Any], pair_ms: float, bytes_per_ms: float) -> dict[str, float]:
    """Processor milliseconds that the pairs and the bytes of a picture and its gradients cost at least."""
    pairs = found["pairs"] * pair_ms
    # Parameters are read in both passes and gradients written once; a picture is written, and read with its gradient.
    moved = 4 * (3 * NUMBERS * row.count + 12 * row.height * row.width) / bytes_per_ms
    return {"pairs_ms": pairs, "bytes_ms": moved, "times_floor": found["render"]["least_cpu_ms"] / (pairs + moved)}


def requests(row: Row, rounds: int) -> dict[str, dict[str, float]]:
    """Least processor milliseconds of both passes for each request of `info`, in turns."""
    asked: dict[str, Any] = {"nothing": False, "info": True, "weights": "weights", "absgrad": "absgrad"}
    return in_turns(row, rounds, {name: {"info": info} for name, info in asked.items()})


def filters(row: Row, rounds: int) -> dict[str, dict[str, float]]:
    """Least processor milliseconds of both passes for each filter, in turns."""
    return in_turns(row, rounds, {name: {"filter": name} for name in FILTERS})


def in_turns(row: Row, rounds: int, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Least processor milliseconds of both passes for each set of options of `render`."""
    camera, start = camera_of(row), parameters_of(row)
    upstream = torch.randn(3, row.height, row.width, generator=torch.Generator().manual_seed(2))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in options}
    for each in range(rounds + 1):
        for name, own in options.items():
            leaves = Gaussians.of({key: value.clone().requires_grad_() for key, value in start.items()})
            (_, forward), made = timed(
                lambda leaves=leaves, own=own: render(leaves, camera, "black", depth=False, **own)
            )
            (_, backward), _ = timed(lambda made=made: made.color.backward(upstream))
            if each:
                times[name].append((forward, backward))
    return {
        name: {"forward_cpu_ms": min(one for one, _ in values), "backward_cpu_ms": min(two for _, two in values)}
        for name, values in times.items()
    }


def crossover(rounds: int) -> list[dict[str, Any]]:
    """Both ways for single pictures of colours, forward and backward, in turns: least processor milliseconds."""
    found = []
    for side, count in ((side, count) for side in (64, 224, 400) for count in (256, 1024, 2048, 4096, 16384)):
        row = Row(side, side, count, 4.0)
        camera, start = camera_of(row), parameters_of(row)
        start["colors"] = start.pop("sh")[:, 0]
        upstream = torch.randn(3, side, side, generator=torch.Generator().manual_seed(2))
        times: dict[str, list[float]] = {"few": [], "scene": []}
        for _ in range(rounds):
            for name, fewest in (("few", count + 1), ("scene", 0)):
                with _choosing(fewest):
                    leaves = Gaussians.of({key: value.clone().requires_grad_() for key, value in start.items()})
                    (_, took), _ = timed(
                        lambda leaves=leaves, camera=camera, upstream=upstream: render(
                            leaves, camera, "black", depth=False
                        ).color.backward(upstream)
                    )
                times[name].append(took)
        found.append({"side": side, "count": count, **{name: min(values) for name, values in times.items()}})
    return found


@contextmanager
def _choosing(fewest: int) -> Iterator[None]:
    """Inside, sets of `fewest` Gaussians and more take the way for scenes."""
    kept = scenes.FEWEST, scenes.ALWAYS
    scenes.FEWEST = scenes.ALWAYS = fewest
    try:
        yield
    finally:
        scenes.FEWEST, scenes.ALWAYS = kept


def main(
    threads: tuple[int, ...] = (1, 2),
    rounds: int = 7,
    rows: tuple[str, ...] = tuple(ROWS),
    before: bool = False,
    with_requests: Annotated[bool, tyro.conf.arg(name="requests")] = False,
    with_filters: Annotated[bool, tyro.conf.arg(name="filters")] = False,
    with_crossover: Annotated[bool, tyro.conf.arg(name="crossover")] = False,
    json_file: Path | None = None,
) -> None:
    """Time steps of fitting scenes.

    - `rows`: names of scenes. `before`: also time the way for few Gaussians.
    - `with_requests`: time what `info` costs instead. `with_filters`: time filters instead. `with_crossover`: compare
      both ways for few Gaussians instead.
    """
    if with_requests or with_filters or with_crossover:
        torch.set_num_threads(threads[0])
        compared = requests if with_requests else filters
        other = crossover(rounds) if with_crossover else {name: compared(ROWS[name], rounds) for name in rows}
        print(json.dumps(other, indent=1))
        if json_file is not None:
            json_file.write_text(json.dumps({"environment": environment(), "rows": other}, indent=1) + "\n")
        return
    report: list[dict[str, Any]] = []
    for count in threads:
        torch.set_num_threads(count)
        large = measure(LARGE, rounds)
        pair_ms, bytes_per_ms = large["render"]["least_cpu_ms"] / large["pairs"], copy_rate()
        for name in rows:
            row = ROWS[name]
            found = measure(row, rounds)
            entry = {"row": name, "threads": count, **found, "floor": floor_of(row, found, pair_ms, bytes_per_ms)}
            if before:
                entry["before"] = _before(row, rounds)
            report.append(entry)
            print(json.dumps({"row": name, "threads": count, **_short(entry)}), flush=True)
        print(
            f"{count} threads: {1e9 * pair_ms:.0f} ps a pair of large splats, {bytes_per_ms / 1e6:.1f} GB/s", flush=True
        )
    columns = ("row", "threads", "visible", "pairs", "forward", "loss", "backward", "adam", "step", "cpu", "× floor")
    print(table(columns, [_line(each) for each in report]))
    if json_file is not None:
        json_file.write_text(json.dumps({"environment": environment(), "rows": report}, indent=1) + "\n")


def _before(row: Row, rounds: int) -> dict[str, Any]:
    camera, start = camera_of(row), parameters_of(row)
    upstream = torch.randn(3, row.height, row.width, generator=torch.Generator().manual_seed(2))
    taken = []
    for _ in range(max(2, rounds // 2)):
        leaves = Gaussians.of({name: each.clone().requires_grad_() for name, each in start.items()})
        with _choosing(row.count + 1):
            took, _ = timed(lambda leaves=leaves: render(leaves, camera, "black", depth=False).color.backward(upstream))
        taken.append(took)
    return {"render": middle(taken[1:])}


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    render_ms = {
        "render_cpu_ms": round(entry["render"]["least_cpu_ms"], 1),
        "floor": round(entry["floor"]["times_floor"], 2),
    }
    step = {
        "step_ms": round(entry["parts"]["step"]["ms"], 1),
        "step_cpu_ms": round(entry["parts"]["step"]["least_cpu_ms"], 1),
    }
    return (
        render_ms
        | step
        | ({"before_cpu_ms": round(entry["before"]["render"]["least_cpu_ms"], 1)} if "before" in entry else {})
    )


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    parts = entry["parts"]
    return (
        entry["row"],
        str(entry["threads"]),
        f"{entry['visible']:,}",
        f"{entry['pairs'] / 1e6:.1f} M",
        *(f"{parts[name]['ms']:.1f}" for name in ("forward", "loss", "backward", "adam", "step")),
        f"{parts['step']['least_cpu_ms']:.0f}",
        f"{entry['floor']['times_floor']:.2f}",
    )


if __name__ == "__main__":
    tyro.cli(main)
