"""Convexes beside Gaussians on one picture: polygons, which are what they are made of, and smooth discs, which are not.

    python -m benchmarks.convexes [--pictures 5] [--steps 400] [--size 48] [--json-file FILE]

Pictures of flat polygons over black, averaged over 4 × 4 places in each pixel, and of smooth discs (Gaussian profiles)
at the same places, the control, are fitted by `splatlearn.fit` with the same number of numbers that a picture can show:
9 of a Gaussian (2 of its place, 3 of its form, opacity and colour), 10 of a generalised exponential, and 2·P + 6 of a
convex of P points (smoothness and sharpness, opacity and colour). Every splat more than that is left out. Reported are
PSNRs over all pictures, and differences from Gaussians picture by picture.
"""

from __future__ import annotations

import json
import math
import statistics
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import table
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import SlowBackendWarning
from splatlearn.fitting import FitOptions, fit
from splatlearn.rendering import render
from splatlearn.runs.folder import environment

SHAPES = 5
"""Polygons or discs of a picture."""
FINE = 4
"""Places along each side of a pixel that a picture is averaged over."""


@dataclass(frozen=True)
class Options:
    """How much is fitted."""

    pictures: int = 5
    """Pictures of each kind, each from a seed of its own."""
    steps: int = 400
    """Steps of a fit."""
    size: int = 48
    """Pixels of a side."""
    budget: int = 144
    """Numbers of the splats of a picture."""
    points: tuple[int, ...] = (4, 6)
    """Points of a convex, one arm each."""
    json_file: Path | None = None
    """File for all numbers."""


def polygons(size: int, seed: int) -> Tensor:
    """Flat polygons of 3 to 6 corners over one another [3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    places, picture = _places(size), torch.zeros(3, size * FINE, size * FINE)
    for _ in range(SHAPES):
        middle, radius, color = _drawn(generator)
        corners = int(torch.randint(3, 7, (), generator=generator))
        turns = torch.rand((), generator=generator) + torch.arange(corners) / corners
        ends = middle + radius * torch.stack([(2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()], dim=-1)
        sides = ends.roll(-1, 0) - ends
        off = places.unsqueeze(-2) - ends
        is_inside = (sides[:, 0] * off[..., 1] - sides[:, 1] * off[..., 0] >= 0).all(-1)
        picture = torch.where(is_inside, color[:, None, None], picture)
    return torch.nn.functional.avg_pool2d(picture, FINE)


def discs(size: int, seed: int) -> Tensor:
    """Smooth discs over one another [3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    places, picture = _places(size), torch.zeros(3, size * FINE, size * FINE)
    for _ in range(SHAPES):
        middle, radius, color = _drawn(generator)
        cover = 0.95 * torch.exp(-2 * ((places - middle).square().sum(-1) / radius**2))
        picture = picture + cover * (color[:, None, None] - picture)
    return torch.nn.functional.avg_pool2d(picture, FINE)


def arms(options: Options) -> dict[str, tuple[int, FitOptions]]:
    """The number of splats and the options of each fit."""
    found = {"gaussian": (options.budget // 9, FitOptions(background="black"))}
    found["ges"] = (options.budget // 10, FitOptions(background="black", primitive="ges"))
    for points in options.points:
        count = options.budget // (2 * points + 6)
        found[f"convex, {points} points"] = (
            count, FitOptions(background="black", primitive="convex", points=points),
        )  # fmt: skip
    return found


def psnrs(images: Tensor, count: int, chosen: FitOptions, steps: int) -> list[float]:
    """The PSNR of each picture after the fit."""
    made = fit(images, count, steps, chosen)
    shown = render(made, Camera.gmae(*images.shape[-2:]), "black", depth=False).color
    errors = (shown - images).square().mean(dim=(1, 2, 3))
    return (-10 * errors.log10()).tolist()


def main(options: Options) -> None:
    """Fit all pictures with all primitives, and print a table."""
    warnings.simplefilter("ignore", SlowBackendWarning)
    rows: list[dict[str, Any]] = []
    for name, draw in {"polygons": polygons, "smooth discs": discs}.items():
        images = torch.stack([draw(options.size, seed) for seed in range(options.pictures)])
        for arm, (count, chosen) in arms(options).items():
            begun = time.process_time()
            found = psnrs(images, count, chosen, options.steps)
            seconds = (time.process_time() - begun) / options.pictures
            rows.append({"target": name, "arm": arm, "count": count, "psnr": found, "cpu_seconds": seconds})
    print(table(["target", "drawn as", "splats", "PSNR, dB", "over Gaussians, dB", "CPU s"], _shown(rows)))
    if options.json_file is not None:
        said = {"environment": environment(), "steps": options.steps, "size": options.size, "budget": options.budget}
        options.json_file.write_text(json.dumps({**said, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _shown(rows: list[dict[str, Any]]) -> list[list[str]]:
    base = {row["target"]: row["psnr"] for row in rows if row["arm"] == "gaussian"}
    found = []
    for row in rows:
        gains = [one - other for one, other in zip(row["psnr"], base[row["target"]], strict=True)]
        numbers = [_mean(row["psnr"]), "" if row["arm"] == "gaussian" else _mean(gains)]
        found.append([row["target"], row["arm"], str(row["count"]), *numbers, f"{row['cpu_seconds']:.1f}"])
    return found


def _mean(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


def _places(size: int) -> Tensor:
    """The places [H, W, 2] that a picture is averaged over, in (−1, 1)."""
    line = (torch.arange(size * FINE) + 0.5) / (size * FINE) * 2 - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)


def _drawn(generator: torch.Generator) -> tuple[Tensor, float, Tensor]:
    """Middle, radius and colour of a shape."""
    middle = 1.2 * torch.rand(2, generator=generator) - 0.6
    radius = 0.25 + 0.35 * float(torch.rand((), generator=generator))
    return middle, radius, 0.15 + 0.85 * torch.rand(3, generator=generator)


if __name__ == "__main__":
    main(tyro.cli(Options))
