"""Blurred photographs: rules of instants of an exposure, and parametrisations of defocus, against what is exact.

    python -m benchmarks.captures_blur [--json-file FILE]

Instants: a line with a Gaussian profile moves by L pixels while the shutter is open. The exact picture is an integral;
the table has the largest error of the mean of n sharp lines over all pixels, in shares of the exact peak, for instants
in the middles of n equal spans and for n instants with both ends, the rule of BAD-Gaussians (arXiv 2403.11831).

Defocus: a splat is fitted to a picture that a lens has blurred, by Adam, from no blur. The table has the variance that
was added, as a share of the right one, for `widened`, for a width of the splat's own (`OwnWidths`), and for the factor
of Deblurring 3D Gaussian Splatting (arXiv 2401.00834): clamp(λδ + 1 − λ, 1, 1.1) of an output δ of its network, with
λ = 0.01, from its start (δ = 0) and from beyond the range in which it has no gradient (δ = 1.5).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import table
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.cameras.defocus import WIDTH, OwnWidths, widened
from splatlearn.fitting.cameras.trajectories import Rule, instants
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.views.view_model import SeenViews
from splatlearn.rendering import render
from splatlearn.runs.folder import environment

LINES = ((10.0, 1.0, 10), (10.0, 2.0, 10), (20.0, 1.0, 10), (20.0, 1.0, 15))
"""Lengths of motions, standard deviations of lines, pixels, and numbers of instants."""
BLURS = (0.25, 0.5, 1.0, 2.0)
"""Standard deviations of the lens's blur, in those of the splat."""
LAMBDA, MOST = 0.01, 1.1
"""Constants of the published factor."""
DEPTH, WIDTH_OF_SPLAT, STEPS = 2.0, 0.1, 400


@dataclass(frozen=True)
class Options:
    """What is written."""

    json_file: Path | None = None
    """File for the results."""


def quadrature(length: float, sigma: float, n: int, rule: Rule) -> float:
    """The largest error of a smeared line, as a share of its exact peak."""
    x = torch.arange(-2 * length, 2 * length + 1, dtype=torch.float64)

    def primitive(at: Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf(at / sigma / math.sqrt(2)))

    exact = (primitive(x + length / 2) - primitive(x - length / 2)) / length
    places = length * (instants(n, rule) - 0.5)
    lines = torch.exp(-((x[:, None] - places).square()) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    return float((lines.mean(1) - exact).abs().max() / exact.max())


def splat() -> tuple[Gaussians, Camera]:
    """A round splat in the middle of a picture, and the camera."""
    camera = Camera.pinhole(64, 64, 30.0)
    made = Gaussians(
        torch.tensor([[0.0, 0.0, DEPTH]]), torch.full((1, 3), WIDTH_OF_SPLAT), torch.eye(4)[:1], torch.tensor([0.9]),
        colors=torch.ones(1, 3),
    )  # fmt: skip
    return made, replace(camera, viewmats=camera.viewmats[None])


def blurred(scene: Gaussians, camera: Camera, width: Tensor) -> Tensor:
    """The picture of a splat whose covariance has width² added."""
    seen = widened(scene, width.expand(1, 1), torch.tensor([[[0.0, 0.0, 1.0]]]))
    return render(seen, camera, "black", depth=False, check=False).color


def own(scene: Gaussians, camera: Camera, log_width: Tensor) -> Tensor:
    """The picture of a splat with a width of its own, by the view model of a fit."""
    seen = SeenViews(torch.tensor([0]), 1, Draws(0, 1), {WIDTH: log_width.expand(1)})
    shown = OwnWidths(torch.tensor([DEPTH])).gaussians(seen, camera, scene)
    return render(shown, camera, "black", depth=False, check=False).color


def published(scene: Gaussians, camera: Camera, output: Tensor) -> Tensor:
    """The picture of a splat whose scales have the published factor; its light is kept as that of `widened` is."""
    factor = (LAMBDA * output + 1 - LAMBDA).clamp(1, MOST)
    seen = replace(scene, scales=scene.scales * factor, opacities=scene.opacities / factor.square())
    return render(seen, camera, "black", depth=False, check=False).color


def fitted(picture: Callable[[Tensor], Tensor], start: float, target: Tensor, rate: float) -> tuple[float, float]:
    """The gradient at the start, and the number that Adam ends with."""
    number = torch.tensor(start, requires_grad=True)
    optimizer, first = torch.optim.Adam([number], lr=rate), math.nan
    for _ in range(STEPS):
        loss = (picture(number) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert number.grad is not None
        first = float(number.grad) if math.isnan(first) else first
        optimizer.step()
    return first, float(number.detach())


def defocus(blur: float) -> dict[str, Any]:
    """Variances that the parametrisations add, as shares of the right one, and gradients at their starts."""
    scene, camera = splat()
    with torch.no_grad():
        target = blurred(scene, camera, torch.tensor(blur * WIDTH_OF_SPLAT))
    found: dict[str, Any] = {"blur": blur}
    gradient, width = fitted(
        lambda each: blurred(scene, camera, each.exp()), math.log(0.05 * WIDTH_OF_SPLAT), target, 0.05
    )
    found["widened"] = {"gradient": gradient, "variance": (math.exp(width) / (blur * WIDTH_OF_SPLAT)) ** 2}
    gradient, width = fitted(lambda each: own(scene, camera, each), math.log(0.05 * WIDTH_OF_SPLAT), target, 0.05)
    found["width of its own"] = {"gradient": gradient, "variance": (math.exp(width) / (blur * WIDTH_OF_SPLAT)) ** 2}
    for name, start in (("published", 0.0), ("published, beyond its dead range", 1.5)):
        gradient, output = fitted(lambda each: published(scene, camera, each), start, target, 0.05)
        factor = min(max(LAMBDA * output + 1 - LAMBDA, 1), MOST)
        found[name] = {"gradient": gradient, "variance": (factor**2 - 1) / blur**2}
    return found


def main(options: Options) -> None:
    """Compare, print tables, and write the results."""
    lines = [
        {"length": length, "sigma": sigma, "instants": n}
        | {"midpoint": quadrature(length, sigma, n, "midpoint"), "endpoints": quadrature(length, sigma, n, "endpoints")}
        for length, sigma, n in LINES
    ]
    lenses = [defocus(blur) for blur in BLURS]
    print(
        table(
            ["motion", "line", "instants", "middles", "with ends"],
            [
                [f"{row['length']:g} px", f"{row['sigma']:g} px", str(row["instants"])]
                + [f"{100 * row[rule]:.2g} %" for rule in ("midpoint", "endpoints")]
                for row in lines
            ],
        )
    )
    names = [name for name in lenses[0] if name != "blur"]
    print(
        table(
            ["blur", *names],
            [[f"{row['blur']:g} σ", *(f"{100 * row[name]['variance']:.0f} %" for name in names)] for row in lenses],
        )
    )
    result = {"environment": environment(), "lines": lines, "defocus": lenses}
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
