"""Generalised exponentials: Gaussians with an exponent of their own (GES, Hamdi et al. 2024, eq. 3)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering.backends.torch.primitives.gaussian import Elliptic

FITTED = (1.0, 8.0)
"""The exponents that a fit may reach. Below 1 the slope at the mean is infinite, and a splat that is opaque in its
middle would reach farther than 11 standard deviations; above 8 it is a box within rounding."""

LARGEST = 40.0
"""Upper clamp of the logarithm of what the Gaussian's power is multiplied by."""


class GeneralisedExponential(Elliptic):
    """α = opacity · exp(−½·q^{β/2}) with the quadratic form q = dᵀ conic d of the Gaussian, and β in `shapes`.

    β = 2 is the Gaussian, to the bit. A smaller one has a peak and long tails, a larger one is flat with steep sides.
    In terms of the Gaussian's power p = ½q, the exponent is p·(2p)^{β/2 − 1}, whose last factor is exactly 1 for β = 2.

    The filter "mip" keeps the sum over pixels, 2π·2^{2/β}Γ(2/β)/β·√det Σ, as it keeps the Gaussian's: both are
    proportional to the root of the determinant.
    """

    name = "ges"
    parameters = ("beta",)
    neutral = (2.0,)

    def falloff(self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"]) -> Float[Tensor, "B K P"]:
        _, bent = _bent(power, numbers[..., 0, :])
        return torch.exp(-power * bent)

    def slopes(
        self, power: Float[Tensor, "B K P"], numbers: Float[Tensor, "B K S 1"], falloff: Float[Tensor, "B K P"]
    ) -> tuple[Float[Tensor, "B K P"], tuple[Float[Tensor, "B K P"], ...]]:
        beta = numbers[..., 0, :]
        log_form, bent = _bent(power, beta)
        by_power = -falloff * (0.5 * beta * bent)
        return by_power, (-0.5 * falloff * (power * bent) * log_form,)

    def reach(self, levels: Float[Tensor, "B K"], numbers: Float[Tensor, "B K S"]) -> Float[Tensor, "B K"]:
        return 0.5 * (2.0 * levels) ** (2.0 / numbers[..., 0])

    def refusal(self, shapes: Float[Tensor, "*B K S"]) -> str | None:
        smallest = float(shapes.min()) if shapes.numel() else 2.0
        return None if smallest > 0.0 else f"exponents above 0, got {smallest:.4g}"

    def free(self, shapes: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        lowest, span = math.log(FITTED[0]), math.log(FITTED[1] / FITTED[0])
        tiny = torch.finfo(shapes.dtype).eps
        return ((shapes.log() - lowest) / span).clamp(tiny, 1.0 - tiny).logit()

    def bound(self, numbers: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        lowest, span = math.log(FITTED[0]), math.log(FITTED[1] / FITTED[0])
        return (lowest + span * numbers.sigmoid()).exp()


def energy(beta: float) -> float:
    """Return the integral of exp(−½·|x|^β) over the plane, 2π·2^{2/β}Γ(2/β)/β; 2π for a Gaussian."""
    return 2.0 * math.pi * 2.0 ** (2.0 / beta) * math.gamma(2.0 / beta) / beta


def _bent(power: Float[Tensor, "B K P"], beta: Float[Tensor, "B K 1"]) -> tuple[Tensor, Tensor]:
    """Return ln q, finite, and q^{β/2 − 1}, by which the Gaussian's power is multiplied."""
    log_form = (2.0 * power).clamp_min(torch.finfo(power.dtype).tiny).log()
    # Beyond, the falloff is 0 within rounding, or that of the mean itself; products stay finite.
    return log_form, torch.exp(((0.5 * beta - 1.0) * log_form).clamp_max(LARGEST))
