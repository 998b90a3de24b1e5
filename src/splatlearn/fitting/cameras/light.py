"""Display colours as amounts of light and back (sRGB, IEC 61966-2-1), with gradients for colours of any sign."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SLOPE, SHIFT, POWER = 12.92, 0.055, 2.4
DARK = 0.04045
"""Display colour below which the curve is a line; darker ones, negative ones too, stay on it."""


def to_light(colors: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Return the amounts of light of display colours, 1 for white."""
    bright = torch.where(colors > DARK, colors, 1.0)
    return torch.where(colors > DARK, ((bright + SHIFT) / (1 + SHIFT)) ** POWER, colors / SLOPE)


def from_light(amounts: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Return the display colours of amounts of light."""
    is_bright = amounts > DARK / SLOPE
    bright = torch.where(is_bright, amounts, 1.0)
    return torch.where(is_bright, (1 + SHIFT) * bright ** (1 / POWER) - SHIFT, amounts * SLOPE)
