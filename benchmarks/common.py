"""What the rendering benchmarks share: scenes, interleaved timing and tables."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""means2d, conics, opacities, colors, background."""
Outputs = tuple[Tensor, Tensor]
"""color, transmittance."""

PAPER_LIKE: dict[str, Any] = {"color": "bounded", "background": "white", "initial_scale": 0.5}
"""Choices about Gaussians that are the paper's and no longer the default preset's: studies began with them."""

SPREAD = (0.7, 1.3)
"""Standard deviations are sigma times a number between these, for each axis."""
SHORTEST_TIMING = 0.03
"""Seconds; a timing repeats a call until it takes about this long."""
PAUSE = 0.005
"""Seconds before a timing, in which the threads of the contender before fall asleep."""


@dataclass(frozen=True)
class Scene:
    """Random splats of about `sigma` px on square images of `side` px, the same for every contender."""

    name: str
    side: int
    sigma: float
    count: int
    seed: int
    images: int = 8

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.side, self.side

    @property
    def work(self) -> int:
        """Pairs of pixel and splat in one image, which is what a dense backend computes."""
        return self.side * self.side * self.count


SCENES = {
    scene.name: scene
    for scene in (
        Scene("224px-64", side=224, sigma=14.0, count=64, seed=1),
        Scene("224px-256", side=224, sigma=14.0, count=256, seed=2),
        Scene("224px-512", side=224, sigma=14.0, count=512, seed=3),
        Scene("224px-1024", side=224, sigma=14.0, count=1024, seed=4),
        Scene("224px-small-512", side=224, sigma=4.0, count=512, seed=5),
        Scene("32px", side=32, sigma=2.0, count=64, seed=6),
        Scene("tiny", side=20, sigma=3.0, count=4, seed=7, images=2),
    )
}
DEFAULT_SCENES = [name for name in SCENES if name != "tiny"]


def scene_inputs(scene: Scene) -> tuple[Inputs, Outputs]:
    """The scene's splats and background, and gradients of the loss with respect to colour and transmittance."""
    generator = torch.Generator().manual_seed(scene.seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(scene.images, *shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * values

    means2d = uniform(0, scene.side, scene.count, 2)
    first, second = (scene.sigma * uniform(*SPREAD, scene.count, 2)).pow(-2).unbind(-1)
    angle = uniform(0, math.pi, scene.count)
    cos, sin = angle.cos(), angle.sin()
    conics = torch.stack(
        [cos**2 * first + sin**2 * second, cos * sin * (first - second), sin**2 * first + cos**2 * second], dim=-1
    )
    inputs = (means2d, conics, uniform(0.1, 0.95, scene.count), uniform(0, 1, scene.count, 3), uniform(0, 1, 3))
    gradients = (
        torch.randn(scene.images, 3, *scene.size, generator=generator),
        torch.randn(scene.images, *scene.size, generator=generator),
    )
    means2d, conics, opacities, colors, background = (tensor.float() for tensor in inputs)
    return (means2d, conics, opacities, colors, background), gradients


@dataclass(frozen=True)
class Task:
    """Something to time: a call that works on `images` images, in the first `rounds` rounds."""

    name: str
    call: Callable[[], object]
    images: int
    rounds: int
    prepare: Callable[[], object] = lambda: None


def interleave(tasks: Sequence[Task]) -> dict[str, list[float]]:
    """Milliseconds per image of each task, one timing of each per round after a warm-up.

    Every round starts with another task, so that none always follows the same one.
    """
    repeats = {task.name: _warm_up(task) for task in tasks}
    timings: dict[str, list[float]] = {task.name: [] for task in tasks}
    for turn in range(max(task.rounds for task in tasks)):
        first = turn % len(tasks)
        for task in (*tasks[first:], *tasks[:first]):
            if turn < task.rounds:
                timings[task.name].append(_timing(task, repeats[task.name]))
    return timings


def median(timings: Sequence[float]) -> float:
    return statistics.median(timings)


def _warm_up(task: Task) -> int:
    """Call the task until it is warm; returns how many calls a timing takes."""
    task.prepare()
    task.call()
    seconds = _seconds(task.call)
    return max(1, math.ceil(SHORTEST_TIMING / max(seconds, 1e-6)))


def _timing(task: Task, repeats: int) -> float:
    task.prepare()
    time.sleep(PAUSE)
    if repeats > 1:
        task.call()
    start = time.perf_counter()
    for _ in range(repeats):
        task.call()
    return (time.perf_counter() - start) * 1e3 / repeats / task.images


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in columns, the first two to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(heads), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])


def figures(value: float | None, unit: str = "") -> str:
    """A number with three figures, or "-" for one that was not measured."""
    if value is None:
        return "-"
    decimals = 0 if value == 0 else min(4, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f}{unit}"


def check_part(part: tuple[int, int]) -> None:
    """Raise SystemExit unless the part is one of n."""
    first, step = part
    if not 0 <= first < step:
        raise SystemExit(f"part: expected I N with 0 <= I < N, such as 0 2 and 1 2, got {first} {step}")
