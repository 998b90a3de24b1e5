"""The filter "analytic": what a Gaussian sums to over the window of a pixel (Analytic-Splatting, Liang et al. 2024)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.torch.primitives.gaussian import clamped
from splatlearn.rendering.backends.torch.primitives.primitive import Alpha, Gradients, Packed, Placed, Primitive
from splatlearn.rendering.formula import ALPHA_MIN, LOGISTIC, ROUND, VARIANCE_MIN

PIXEL_VARIANCE = 1.0 / 12.0
"""Variance of a pixel's window along each axis, px²."""
LEVEL_SLACK = 0.03
"""By how much the logarithm of α may exceed that of the Gaussian at the nearest point of the window."""


class AnalyticGaussian(Primitive):
    """α = opacity · 2πσ₁σ₂ · [S((u + ½)/σ₁) − S((u − ½)/σ₁)] · [S((v + ½)/σ₂) − S((v − ½)/σ₂)].

    u and v are the offsets along the axes of the Gaussian's picture, σ₁ and σ₂ its standard deviations there, without
    a variance that is added, and S(x) = 1 / (1 + exp(−1.6x − 0.07x³)) is near the normal distribution's. So the window
    of one square pixel is turned to these axes: its integral is a product. The angle is ½·atan2(2b, a − c) of the
    covariance [[a, b], [b, c]]; a picture that is round to within ROUND is taken along the axes of pixels, since its
    angle has no limit. The packed parameters are a conic with the same moments as the integral, and cos, sin, σ₁, σ₂.
    """

    name = GAUSSIAN
    formula = "gaussian-analytic"
    filters = ("analytic",)
    draws_panoramas = False

    def pack(self, placed: Placed) -> Packed:
        first, second = placed.on_image
        xx, yy, xy = (first * first).sum(-1), (second * second).sum(-1), (first * second).sum(-1)
        gap = (xx - yy).square() + 4.0 * xy.square()
        is_round = gap <= (ROUND * (xx + yy)).square()
        angle = 0.5 * torch.atan2(torch.where(is_round, 0.0, 2.0 * xy), torch.where(is_round, 1.0, xx - yy))
        larger = torch.where(is_round, xx, 0.5 * (xx + yy) + 0.5 * torch.where(is_round, 1.0, gap).sqrt())
        # The root of the determinant is a length, and no difference of products.
        normal = torch.linalg.cross(first, second)
        determinant = (normal * normal).sum(-1)
        smaller = torch.where(is_round, yy, determinant / torch.where(is_round, 1.0, larger))
        larger, smaller = larger.clamp_min(VARIANCE_MIN), smaller.clamp_min(VARIANCE_MIN)
        cos, sin = angle.cos(), angle.sin()
        inverse_first, inverse_second = 1.0 / (larger + PIXEL_VARIANCE), 1.0 / (smaller + PIXEL_VARIANCE)
        parameters = [
            cos * cos * inverse_first + sin * sin * inverse_second,
            cos * sin * (inverse_first - inverse_second),
            sin * sin * inverse_first + cos * cos * inverse_second,
            *(cos, sin, larger.sqrt(), smaller.sqrt()),
        ]
        return Packed(torch.stack(parameters, dim=-1), placed.opacities)

    def bounds(self, packed: Float[Tensor, "B K P"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
        """Return a box: α is at most that of the Gaussian at the nearest point of the pixel's window."""
        cos, sin, first, second = packed[..., 3:].unbind(-1)
        reach = (2.0 * (torch.log(opacities / ALPHA_MIN) + LEVEL_SLACK)).clamp_min(0.0).sqrt()
        across = (cos * first).square() + (sin * second).square()
        down = (sin * first).square() + (cos * second).square()
        half = 1.001 * reach.unsqueeze(-1) * torch.stack([across, down], dim=-1).sqrt() + math.sqrt(0.5) + 0.01
        return torch.where((opacities < ALPHA_MIN / math.exp(LEVEL_SLACK)).unsqueeze(-1), -torch.inf, half)

    def alpha_off(
        self,
        dx: Float[Tensor, "B K P"],
        dy: Float[Tensor, "B K P"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
    ) -> Alpha:
        cos, sin, first, second = (packed[..., i : i + 1] for i in range(3, 7))
        one, other = _window(cos * dx + sin * dy, first), _window(cos * dy - sin * dx, second)
        falloff = 2.0 * math.pi * (first * one.share) * (second * other.share)
        return clamped(dx, dy, torch.zeros_like(falloff), falloff, opacities)

    def alpha_gradients(
        self, packed: Float[Tensor, "B K N"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
    ) -> Gradients:
        cos, sin, first, second = (packed[..., i : i + 1] for i in range(3, 7))
        u, v = cos * at.dx + sin * at.dy, cos * at.dy - sin * at.dx
        one, other = _window(u, first), _window(v, second)
        scaled = alpha_gradient * at.more[0] * (2.0 * math.pi)
        by_u = scaled * first * second * other.share * one.slope
        by_v = scaled * first * second * one.share * other.slope
        by_first = (scaled * second * other.share * one.by_deviation).sum(-1)
        by_second = (scaled * first * one.share * other.by_deviation).sum(-1)
        sums = (by_u.sum(-1), by_v.sum(-1))
        nothing = torch.zeros_like(by_first)
        return (
            torch.stack(
                [sin[..., 0] * sums[1] - cos[..., 0] * sums[0], -(sin[..., 0] * sums[0] + cos[..., 0] * sums[1])],
                dim=-1,
            ),
            torch.stack(
                [
                    *(nothing, nothing, nothing),
                    (by_u * at.dx + by_v * at.dy).sum(-1),
                    (by_u * at.dy - by_v * at.dx).sum(-1),
                    *(by_first, by_second),
                ],
                dim=-1,
            ),
            (alpha_gradient * at.falloff).sum(-1),
        )


class _Window(NamedTuple):
    """The share of a normal distribution in a window one pixel wide, and derivatives.

    - `share`; `slope`: its derivative with respect to the window's place.
    - `by_deviation`: the derivative of the deviation times the share with respect to the deviation.
    """

    share: Tensor
    slope: Tensor
    by_deviation: Tensor


def _window(offsets: Float[Tensor, "B K P"], deviation: Float[Tensor, "B K 1"]) -> _Window:
    linear, cubic = LOGISTIC
    low, high = (offsets - 0.5) / deviation, (offsets + 0.5) / deviation
    # The cubes of far places overflow, where the share is 0 anyway.
    low, high = low.clamp(-FARTHEST, FARTHEST), high.clamp(-FARTHEST, FARTHEST)
    below, above = (each * (linear + cubic * each * each) for each in (low, high))
    # A difference of two values of S would lose the digits of wide splats and of tails.
    share = torch.sigmoid(-below) * torch.sigmoid(above) * -torch.expm1(below - above)
    at_low, at_high = (
        (linear + 3.0 * cubic * each * each) * torch.sigmoid(power) * torch.sigmoid(-power)
        for each, power in ((low, below), (high, above))
    )
    return _Window(share, (at_high - at_low) / deviation, share - (high * at_high - low * at_low))


FARTHEST = 1e3
"""Standard deviations beyond which places count as this far."""
