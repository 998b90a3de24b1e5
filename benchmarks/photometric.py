"""The loss and the optimiser of fits on a CPU: the compiled ones beside PyTorch's, in turns.

    python -m benchmarks.photometric [--threads 1] [--rounds 9] [--counts 100000 1000000] [--json-file FILE]

The loss is that of one picture: forward pass with a gradient, then backward pass. Adam has the parameters of Gaussians
with spherical harmonics of degree 3, 59 numbers each. Milliseconds of the clock, and of all processors ("cpu").
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from benchmarks.common import figures, table
from splatlearn.fitting import GaussianAdam, compiled, photometric_loss
from splatlearn.fitting.losses.specification import photometric
from splatlearn.runs.folder import environment

SIZES = {"400 × 400": (400, 400), "640 × 480": (480, 640), "1600 × 1064": (1064, 1600)}
ROWS = {"means": (3,), "scales": (3,), "quaternions": (4,), "opacities": (), "sh": (16, 3)}
RATES = {"means": 1.6e-4, "scales": 5e-3, "quaternions": 1e-3, "opacities": 2.5e-2, "sh": 2.5e-3}
BETAS, EPS = (0.9, 0.999), 1e-15
VISIBLE = (0.1, 0.3)
WARM_UP = 2
LONGEST = 10_000.0
"""Milliseconds of a contender, after which it takes part no more."""

Stages = Sequence[Callable[[], object]]
"""Calls that are timed each by itself, in order."""


def windows_of_121_taps(x: Tensor, y: Tensor) -> Tensor:
    """The loss with SSIM by five convolutions with two-dimensional windows, as published code has it."""
    places = torch.arange(11) - 5.0
    taps = (-places.square() / 4.5).exp()
    window = (taps[:, None] * taps / taps.sum() ** 2).expand(3, 1, 11, 11).contiguous()
    mean_x, mean_y, square_x, square_y, product = (
        F.conv2d(each, window, padding=5, groups=3) for each in (x, y, x * x, y * y, x * y)
    )
    top = (2 * mean_x * mean_y + 1e-4) * (2 * (product - mean_x * mean_y) + 9e-4)
    bottom = (mean_x**2 + mean_y**2 + 1e-4) * (square_x - mean_x**2 + square_y - mean_y**2 + 9e-4)
    return 0.8 * (x - y).abs().mean() + 0.2 * (1 - (top / bottom).mean())


def loss_stages(loss: Callable[[Tensor, Tensor], Tensor], images: Tensor, targets: Tensor) -> Stages:
    """Forward and backward pass of a loss."""
    made: dict[str, Tensor] = {}

    def forward() -> None:
        made["loss"] = loss(images, targets)

    def backward() -> None:
        torch.autograd.grad(made.pop("loss"), images)

    return forward, backward


def loss_contenders(size: tuple[int, int]) -> dict[str, Stages]:
    """Losses of a noisy picture."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, size[0] // 16 + 2, size[1] // 16 + 2, generator=generator)
    smooth = F.interpolate(coarse, size=size, mode="bilinear")
    images = (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).requires_grad_()
    pixels = (255 * smooth).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    clear = torch.cat([pixels, pixels[:, :1]], dim=1).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    ways: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {
        "PyTorch, 11 + 11 taps": (lambda x, y: photometric(x, y, None, 0.2).mean(), smooth),
        "PyTorch, 11 × 11 taps": (windows_of_121_taps, smooth),
    }
    if compiled.native is not None:
        weights = torch.ones(1, *size)
        ways = {
            "compiled, floats": (photometric_loss, smooth),
            "compiled, bytes": (photometric_loss, pixels),
            "compiled, bytes with opacity": (photometric_loss, clear),
            "compiled, weights": (lambda x, y: photometric_loss(x, y, weights=weights), smooth),
        } | ways
    return {name: loss_stages(loss, images, targets) for name, (loss, targets) in ways.items()}


def adam_contenders(count: int) -> dict[str, Stages]:
    """Steps of Adam along the same gradients; only those that move every Gaussian do the same work."""
    generator = torch.Generator().manual_seed(0)
    gradients = {name: torch.randn(count, *shape, generator=generator) for name, shape in ROWS.items()}
    chances = torch.rand(count, generator=generator)

    def parameters() -> dict[str, Tensor]:
        found = {name: torch.zeros_like(each) for name, each in gradients.items()}
        for name, each in found.items():
            each.grad = gradients[name]
        return found

    steps: dict[str, Callable[[], object]] = {}
    if compiled.native is not None:
        ours = GaussianAdam(parameters(), RATES, BETAS, EPS)
        some = GaussianAdam(parameters(), RATES, BETAS, EPS)
        steps = {"compiled": ours.step}
        steps |= {f"compiled, {share:.0%} visible": partial(some.step, chances < share) for share in VISIBLE}
    for name, option in (("PyTorch, fused", {"fused": True}), ("PyTorch, foreach", {"foreach": True})):
        groups = [{"params": [each], "lr": RATES[key]} for key, each in parameters().items()]
        steps[name] = torch.optim.Adam(groups, betas=BETAS, eps=EPS, **option).step
    return {name: (step,) for name, step in steps.items()}


def timings(contenders: dict[str, Stages], rounds: int) -> dict[str, list[list[float]]]:
    """For each contender and round, the milliseconds of each stage, then those of all processors for all stages."""
    found: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for turn in range(rounds + WARM_UP):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if len(found[name]) > WARM_UP and sum(sum(row) for row in found[name]) > LONGEST:
                continue
            row, spent = [], time.process_time()
            for stage in contenders[name]:
                begun = time.perf_counter()
                stage()
                row.append(1e3 * (time.perf_counter() - begun))
            found[name].append([*row, 1e3 * (time.process_time() - spent)])
    return {name: rows[WARM_UP:] for name, rows in found.items()}


def summary(rows: list[list[float]], stages: Sequence[str]) -> dict[str, float]:
    """Medians of each stage and of CPU time, and the least CPU time."""
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    return {**dict(zip((*stages, "cpu"), medians, strict=True)), "least_cpu": min(row[-1] for row in rows)}


def main(
    threads: int = 1, rounds: int = 9, counts: tuple[int, ...] = (100_000, 1_000_000), json_file: Path | None = None
) -> None:
    """Time losses and optimisers in turns, print tables of medians and write them.

    Args:
        threads: Threads of PyTorch and the extension.
        rounds: Timings of each.
        counts: Numbers of Gaussians for Adam.
        json_file: File for the figures.
    """
    torch.set_num_threads(threads)
    facts: dict[str, Any] = {**environment(), "threads": threads, "rounds": rounds}
    if compiled.native is not None:
        facts["instruction_set"] = compiled.native.instruction_set()
    loss = {
        size: {name: summary(rows, ("forward", "backward")) for name, rows in found.items()}
        for size, found in ((name, timings(loss_contenders(size), rounds)) for name, size in SIZES.items())
    }
    adam = {
        f"{count:,}": {name: summary(rows, ("step",)) for name, rows in timings(adam_contenders(count), rounds).items()}
        for count in counts
    }
    results = {"environment": facts, "loss_milliseconds": loss, "adam_milliseconds": adam}
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["environment"]))
    for unit, part in (("picture", loss), ("Gaussians", adam)):
        columns = list(next(iter(next(iter(part.values())).values())))
        rows = [
            (case, name, *(figures(row[each]) for each in columns))
            for case, found in part.items()
            for name, row in found.items()
        ]
        print(f"\n{table((unit, 'ms', *columns), rows)}")


if __name__ == "__main__":
    tyro.cli(main)
