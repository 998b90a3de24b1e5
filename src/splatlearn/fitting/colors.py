"""Colours within bounds for fixed geometry: a linear least-squares problem, solved with the renderer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.checks import check_shape
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

STEPS = 50
"""Steps after which the error of a picture of Gaussians is the least possible to within a thousandth."""


def refit_colors(
    gaussians: Gaussians,
    images: Float[Tensor, "*B C H W"],
    camera: Camera,
    background: Background = "white",
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    steps: int = STEPS,
    backend: str = "auto",
) -> Gaussians:
    """Replace colours by those within bounds whose rendering is closest to images, all else unchanged.

    - `gaussians`: any leading batch shape *B, with `colors`; those outside of the bounds are clamped before the first
      step.
    - `images` [*B, C, H, W]: what to approximate, in any range, for example the rendering of the same Gaussians with
      colours that a file format cannot hold.
    - `bounds`: smallest and largest colour; infinite where there is none.
    - `background`, `backend`: see `splatlearn.rendering`.

    With fixed geometry a picture is linear in the colours x: W x + T·background with blending weights W ≥ 0. The
    squared error is lowered by accelerated projected gradient steps with restarts (Beck and Teboulle 2009; O'Donoghue
    and Candès 2015). Each image and channel is a problem of its own, and the step of Gaussian k is 1 / (WᵀW·1)_k, the
    curvature of a separable surrogate (De Pierro 1995). The error is never above that of the clamped colours. Gaussians
    that no pixel shows keep their clamped colours. Returns detached Gaussians.

    Raises InputError for Gaussians with `sh`, shapes that do not fit, bounds that are not in order and a negative
    number of steps.
    """
    low, high = bounds
    if not low <= high:
        raise InputError(f"bounds: expected the smaller colour first, got {bounds}")
    if steps < 0:
        raise InputError(f"steps: expected at least 0, got {steps}")
    check_shape(
        "images", images, (gaussians.fixed_colors().shape[-1], camera.height, camera.width), gaussians.batch_shape
    )
    start = gaussians.detach()

    def picture(colors: Tensor, behind: Background) -> Tensor:
        return render(replace(start, colors=colors), camera, behind, backend, depth=False, check=False).color

    with torch.enable_grad():
        sizes = _step_sizes(picture, start)
        colors = start.fixed_colors().clamp(low, high)
        if steps:
            target = images.detach().to(colors)
            colors = _descend(lambda x: picture(x, background) - target, colors, sizes, bounds, steps)
    return replace(start, colors=colors)


def _step_sizes(picture: Callable[[Tensor, Background], Tensor], start: Gaussians) -> Float[Tensor, "*B K 1"]:
    """1 / (WᵀW·1), 0 for Gaussians that no pixel shows."""
    ones = torch.ones_like(start.fixed_colors()[..., :1]).requires_grad_()
    covered = picture(ones, "black")
    (weight,) = torch.autograd.grad(covered, ones, covered.detach())
    return torch.where(weight > 0, 1.0 / weight.clamp_min(torch.finfo(weight.dtype).tiny), 0.0)


def _descend(
    residual: Callable[[Tensor], Tensor],
    colors: Float[Tensor, "*B K C"],
    sizes: Float[Tensor, "*B K 1"],
    bounds: tuple[float, float],
    steps: int,
) -> Float[Tensor, "*B K C"]:
    """Accelerated projected gradient steps; one that raises the error is undone, and restarts."""
    # The picture is linear in the colours: the residual of a mix of colours is the mix of their residuals, and the
    # derivative is the same everywhere. So one rendering a step serves both.
    tried = colors.requires_grad_()
    left_tried = residual(tried)
    x, left = ahead, left_ahead = tried.detach(), left_tried.detach()
    pace = torch.ones_like(x[..., :1, :])
    for _ in range(steps):
        (slope,) = torch.autograd.grad(left_tried, tried, left_ahead)
        tried = (ahead - sizes * slope).clamp(*bounds).requires_grad_()
        left_tried = residual(tried)
        found, left_found = tried.detach(), left_tried.detach()
        is_lower = (_error(left_found) <= _error(left)).unsqueeze(-2)
        faster = 0.5 * (1.0 + (1.0 + 4.0 * pace * pace).sqrt())
        further = torch.where(is_lower, (pace - 1.0) / faster, 0.0)
        pace = torch.where(is_lower, faster, 1.0)
        x, ahead = torch.where(is_lower, found, x), torch.where(is_lower, found + further * (found - x), x)
        to_pixels = (is_lower.mT.unsqueeze(-1), further.mT.unsqueeze(-1))
        left, left_ahead = (
            torch.where(to_pixels[0], left_found, left),
            torch.where(to_pixels[0], left_found + to_pixels[1] * (left_found - left), left),
        )
    return x


def _error(residual: Float[Tensor, "*B C H W"]) -> Float[Tensor, "*B C"]:
    return residual.square().sum(dim=(-1, -2))
