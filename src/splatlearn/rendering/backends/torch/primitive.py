"""The primitive that is drawn: an elliptic Gaussian on the image. α of the specification is computed here alone.

A primitive consists of

- its packed parameters: `means2d` [B, K, 2] in pixels, `conics` [B, K, 3] in px⁻², `opacities` [B, K];
- the bound of its picture (`bounds`);
- α at a pixel (`alpha_at`) and its derivatives (`alpha_gradients`).

The filter says what a pixel integrates: the Gaussian convolved with one of variance EPS2D (`filtered_conics`), and with
"mip" the opacity that keeps its sum (`compensations`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, COMPENSATION_MIN, EPS2D


class Alpha(NamedTuple):
    """α of K primitives at P pixels and what it was computed from, [B, K, P] each."""

    dx: Tensor
    dy: Tensor
    falloff: Tensor
    """exp(−power), 1 where the power is negative, by rounding or because the conic is not positive definite."""
    moves: Tensor
    """Whether the power is not negative, so that α depends on centre and conic."""
    raw: Tensor
    """opacity · falloff, before clamp and cut-off."""
    alpha: Tensor
    """α after clamp and cut-off."""


def alpha_at(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    pixels: Float[Tensor, "P 2"],
) -> Alpha:
    """Return α at pixel centres (x, y)."""
    return alpha_off(pixels[:, 0] - means2d[..., 0:1], pixels[:, 1] - means2d[..., 1:2], conics, opacities)


def alpha_off(
    dx: Float[Tensor, "B K P"],
    dy: Float[Tensor, "B K P"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
) -> Alpha:
    """Return α at offsets from the centres, in pixels."""
    a, b, c = (conics[..., i : i + 1] for i in range(3))
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    falloff = torch.exp(-power.clamp_min(0.0))
    raw = opacities.unsqueeze(-1) * falloff
    alpha = raw.clamp_max(ALPHA_MAX)
    return Alpha(dx, dy, falloff, power >= 0, raw, torch.where(alpha >= ALPHA_MIN, alpha, 0.0))


def alpha_gradients(
    conics: Float[Tensor, "B K 3"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 3"], Float[Tensor, "B K"]]:
    """Return the gradients of means2d, conics and opacities, summed over pixels, from that of α.

    `alpha_gradient` must be 0 where α was clamped, cut off or not composited.
    """
    # ∂L/∂power; the gradients of centre and conic are its moments.
    by_power = torch.where(at.moves, -alpha_gradient * at.raw, 0.0)
    x, y = by_power * at.dx, by_power * at.dy
    moment_x, moment_y = x.sum(-1), y.sum(-1)
    a, b, c = conics.unbind(-1)
    return (
        -torch.stack([a * moment_x + b * moment_y, b * moment_x + c * moment_y], dim=-1),
        torch.stack([0.5 * (x * at.dx).sum(-1), (x * at.dy).sum(-1), 0.5 * (y * at.dy).sum(-1)], dim=-1),
        (alpha_gradient * at.falloff).sum(-1),
    )


def bounds(conics: Float[Tensor, "B K 3"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
    """Return half the sides of a box around each centre outside of which α is 0, in pixels along x and y.

    The bound is infinite for a conic that is not an ellipse's or too thin to tell, and −∞ for an opacity below
    ALPHA_MIN. It has a margin for rounding.
    """
    a, b, c = conics.unbind(-1)
    determinant = a * c - b * b
    is_ellipse = (a > 0) & (c > 0) & (determinant > 1e-4 * a * c)
    largest_power = torch.log(opacities / ALPHA_MIN) + 1e-3
    variances = torch.stack([c, a], dim=-1) / determinant.unsqueeze(-1)
    half = 1.01 * torch.sqrt(2.0 * largest_power.unsqueeze(-1) * variances) + 0.01
    half = torch.where(is_ellipse.unsqueeze(-1), half, torch.inf)
    return torch.where((opacities < ALPHA_MIN).unsqueeze(-1), -torch.inf, half)


def filtered_conics(rows: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]]) -> Float[Tensor, "B K 3"]:
    """Return the inverse of M Mᵀ + EPS2D·I for the 2×3 matrix M of the given rows.

    The determinant is written as |m₁ × m₂|² + EPS2D (|m₁|² + |m₂|²) + EPS2D², a sum of positive terms: the usual
    difference of products loses thin tilted Gaussians in float32.
    """
    first, second = rows
    xx = (first * first).sum(-1)
    yy = (second * second).sum(-1)
    xy = (first * second).sum(-1)
    _, determinant = _determinants(rows)
    return torch.stack([yy + EPS2D, -xy, xx + EPS2D], dim=-1) / determinant.unsqueeze(-1)


def compensations(rows: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]]) -> Float[Tensor, "B K"]:
    """Return √(det M Mᵀ / det (M Mᵀ + EPS2D·I)), by which the filter "mip" multiplies opacities.

    It is at least √COMPENSATION_MIN, without a gradient there, and 1 where the determinant overflows.
    """
    before, after = _determinants(rows)
    is_finite = after.isfinite()
    ratio = torch.where(is_finite, before, 1.0) / torch.where(is_finite, after, 1.0)
    return ratio.clamp_min(COMPENSATION_MIN).sqrt()


def _determinants(
    rows: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]],
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
    """Return the determinants of M Mᵀ and of M Mᵀ + EPS2D·I."""
    first, second = rows
    xx = (first * first).sum(-1)
    yy = (second * second).sum(-1)
    cross = torch.linalg.cross(first, second)
    before = (cross * cross).sum(-1)
    return before, before + EPS2D * (xx + yy) + EPS2D * EPS2D
