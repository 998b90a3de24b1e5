"""The Gaussian on the image, and what all primitives have in common whose α depends on the Gaussian's power alone."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha, Gradients, Packed, Placed, Primitive
from splatlearn.rendering.formula import ALPHA_MAX, ALPHA_MIN, COMPENSATION_MIN, EPS2D


class Elliptic(Primitive):
    """A primitive with α = opacity · f(power), for the Gaussian's power ½·dᵀ conic d and numbers of its own.

    Its packed parameters are the conic of the filter and `shapes`. A subclass says what f is (`falloff`), its
    derivatives, and the power at which it has fallen to a level (`reach`). `numbers` below are `shapes`, with an axis
    for pixels: [B, K, S, 1].
    """

    @abstractmethod
    def falloff(self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"]) -> Float[Tensor, "B K P"]:
        """Return f of powers that are at least 0, from 1 at 0 down to 0."""

    @abstractmethod
    def slopes(
        self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"], falloff: Float[Tensor, "B K P"]
    ) -> tuple[Float[Tensor, "B K P"], tuple[Float[Tensor, "B K P"], ...]]:
        """Return the derivatives of f with respect to the power and to each number."""

    @abstractmethod
    def reach(self, levels: Float[Tensor, "B K"], numbers: Float[Tensor, "B K S"]) -> Float[Tensor, "B K"]:
        """Return the powers at which f has fallen to exp(−levels)."""

    def pack(self, placed: Placed) -> Packed:
        conics, opacities = filtered_conics(placed.on_image), placed.opacities
        if placed.filter == "mip":
            opacities = opacities * compensations(placed.on_image)
        return Packed(conics if placed.shapes is None else torch.cat([conics, placed.shapes], dim=-1), opacities)

    def bounds(self, packed: Float[Tensor, "B K P"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
        """Return a box; it is infinite for a conic that is not an ellipse's or too thin to tell."""
        a, b, c = packed[..., :3].unbind(-1)
        determinant = a * c - b * b
        is_ellipse = (a > 0) & (c > 0) & (determinant > 1e-4 * a * c)
        largest_power = self.reach(torch.log(opacities / ALPHA_MIN) + 1e-3, packed[..., 3:])
        variances = torch.stack([c, a], dim=-1) / determinant.unsqueeze(-1)
        half = 1.01 * torch.sqrt(2.0 * largest_power.unsqueeze(-1) * variances) + 0.01
        half = torch.where(is_ellipse.unsqueeze(-1), half, torch.inf)
        return torch.where((opacities < ALPHA_MIN).unsqueeze(-1), -torch.inf, half)

    def alpha_off(
        self,
        dx: Float[Tensor, "B K P"],
        dy: Float[Tensor, "B K P"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
    ) -> Alpha:
        a, b, c = (packed[..., i : i + 1] for i in range(3))
        power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        falloff = self.falloff(power.clamp_min(0.0), packed[..., 3:, None])
        return clamped(dx, dy, power, falloff, opacities)

    def alpha_gradients(
        self, packed: Float[Tensor, "B K N"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
    ) -> Gradients:
        numbers, gradient = packed[..., 3:, None], torch.where(at.power >= 0, alpha_gradient, 0.0)
        by_power, by_numbers = self.slopes(at.power.clamp_min(0.0), numbers, at.falloff)
        # raw / falloff would be 0 / 0 far from the mean.
        opacities = at.more[0]
        by_power = gradient * (opacities * by_power)
        # The gradients of centre and conic are its moments.
        x, y = by_power * at.dx, by_power * at.dy
        moment_x, moment_y = x.sum(-1), y.sum(-1)
        a, b, c = packed[..., :3].unbind(-1)
        return (
            -torch.stack([a * moment_x + b * moment_y, b * moment_x + c * moment_y], dim=-1),
            torch.stack(
                [
                    0.5 * (x * at.dx).sum(-1),
                    (x * at.dy).sum(-1),
                    0.5 * (y * at.dy).sum(-1),
                    *((gradient * (opacities * each)).sum(-1) for each in by_numbers),
                ],
                dim=-1,
            ),
            (alpha_gradient * at.falloff).sum(-1),
        )


class Gaussian(Elliptic):
    """α = opacity · exp(−power)."""

    name = GAUSSIAN

    def falloff(self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"]) -> Float[Tensor, "B K P"]:
        return torch.exp(-power)

    def slopes(
        self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"], falloff: Float[Tensor, "B K P"]
    ) -> tuple[Float[Tensor, "B K P"], tuple[Float[Tensor, "B K P"], ...]]:
        return -falloff, ()

    def reach(self, levels: Float[Tensor, "B K"], numbers: Float[Tensor, "B K S"]) -> Float[Tensor, "B K"]:
        return levels


def clamped(
    dx: Float[Tensor, "B K P"],
    dy: Float[Tensor, "B K P"],
    power: Float[Tensor, "B K P"],
    falloff: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
) -> Alpha:
    """Return α = opacity · falloff, clamped and cut off; `more` are the opacities [B, K, 1]."""
    spread = opacities.unsqueeze(-1)
    raw = spread * falloff
    alpha = raw.clamp_max(ALPHA_MAX)
    return Alpha(dx, dy, power, falloff, raw, torch.where(alpha >= ALPHA_MIN, alpha, 0.0), (spread,))


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
