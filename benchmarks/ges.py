"""Generalised exponentials: what an exponent is worth on curves, and how near a scale comes to it.

    python -m benchmarks.ges [--seeds 20] [--steps 600] [--counts 2 5 10] [--json-file FILE]

Curves: sums of N components a·exp(−½|(x − m)/s|^β) are fitted to shapes on [−1, 1] by Adam on the squared error, with
exponents of their own and with β = 2, from the same first places (GES, Hamdi et al. 2024, section 3). The target
"gaussian" is the control, which needs no exponent. Reported are mean squared errors: medians over seeds.

Scales: the code published with GES rasterises Gaussians, and multiplies their scales by
2 / (1 + exp(−ρ(β − 2))) with ρ = 0.1. The table has the largest error of that, of Gaussians with the same variance,
and of the best Gaussian, as functions of β: a scale is what a Gaussian has anyway, and no exponent.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import table
from splatlearn.rendering.backends.torch.primitives.ges import GeneralisedExponential
from splatlearn.runs.folder import environment

EXPONENTS = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0)
SAMPLES = 201
STRENGTH = 0.1
"""ρ of the published scale."""


@dataclass(frozen=True)
class Options:
    """How much is fitted."""

    seeds: int = 20
    """First places of each fit."""
    steps: int = 600
    """Steps of a fit."""
    counts: tuple[int, ...] = (2, 5, 8, 10, 15, 20)
    """Numbers of components; the fits of each are the same whichever others there are."""
    json_file: Path | None = None
    """File for all numbers."""


def targets(x: Tensor) -> dict[str, Tensor]:
    """Shapes of height 1 on [−1, 1], by name."""
    inside = (x.abs() <= 0.5).to(x)
    return {
        "square": inside,
        "triangle": (1 - 2 * x.abs()).clamp_min(0),
        "parabola": (1 - 4 * x**2).clamp_min(0),
        "half sine": torch.cos(math.pi * x) * inside,
        "exponential": torch.exp(-x.abs() / 0.2),
        "gaussian": torch.exp(-0.5 * (x / 0.25) ** 2),
    }


def curve_errors(target: Tensor, x: Tensor, count: int, has_exponents: bool, options: Options) -> list[float]:
    """The mean squared errors of fits from all seeds, which go side by side."""
    shape, ges = (options.seeds, count), GeneralisedExponential()
    generator = torch.Generator().manual_seed(count)
    places = (torch.rand(shape, generator=generator) * 1.6 - 0.8).requires_grad_()
    log_scales = torch.full(shape, math.log(0.5 / count)).requires_grad_()
    heights = (0.5 + 0.1 * torch.randn(shape, generator=generator)).requires_grad_()
    numbers = ges.free(torch.full((*shape, 1), 2.0)).requires_grad_()
    moved = [places, log_scales, heights, *([numbers] if has_exponents else [])]
    adam = torch.optim.Adam(moved, lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.steps, 1e-3)
    errors = torch.zeros(options.seeds)
    for _ in range(options.steps):
        power = 0.5 * ((x - places.unsqueeze(-1)) / log_scales.exp().unsqueeze(-1)) ** 2
        # Exactly 2, where its parameter stands still.
        exponents = ges.bound(numbers) if has_exponents else torch.full_like(numbers, 2.0)
        made = (heights.unsqueeze(-1) * ges.falloff(power, exponents.unsqueeze(-1))).sum(1)
        errors = (made - target).square().mean(-1)
        adam.zero_grad()
        errors.sum().backward()
        adam.step()
        schedule.step()
    return errors.detach().tolist()


def scale_errors(exponent: float) -> dict[str, float]:
    """The largest difference from exp(−½|x|^β) of three Gaussians: the published scale, equal variance, the best."""
    x = torch.linspace(0, 40, 40_001, dtype=torch.float64)
    exact = torch.exp(-0.5 * x**exponent)

    def error(scale: float) -> float:
        return float((exact - torch.exp(-0.5 * (x / scale) ** 2)).abs().max())

    published = 2 / (1 + math.exp(-STRENGTH * (exponent - 2)))
    variance = 2 ** (2 / exponent) * math.gamma(3 / exponent) / math.gamma(1 / exponent)
    best = min(error(0.3 + 0.005 * step) for step in range(400))
    return {"published scale": error(published), "equal variance": error(math.sqrt(variance)), "best scale": best}


def main(options: Options) -> None:
    """Fit curves and compare scales, and print both tables."""
    x = torch.linspace(-1, 1, SAMPLES)
    curves: list[dict[str, Any]] = []
    for name, target in targets(x).items():
        for count in options.counts:
            found = {arm: curve_errors(target, x, count, arm == "ges", options) for arm in ("gaussian", "ges")}
            curves.append({"target": name, "count": count, "errors": found})
    medians = [[statistics.median(row["errors"][arm]) for arm in ("gaussian", "ges")] for row in curves]
    print(
        table(
            ["target", "N", "gaussian", "ges"],
            [[row["target"], str(row["count"]), *(f"{each:.2e}" for each in two)]
             for row, two in zip(curves, medians, strict=True)],
        )
    )  # fmt: skip
    scales = {exponent: scale_errors(exponent) for exponent in EXPONENTS}
    names = [*scales[2.0]]
    print(table(["exponent", *names], [[str(b), *(f"{row[n]:.3f}" for n in names)] for b, row in scales.items()]))
    if options.json_file is not None:
        found = {"environment": environment(), "steps": options.steps, "curves": curves, "scales": scales}
        options.json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options))
