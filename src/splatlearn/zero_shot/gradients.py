"""Gradients of pictures with many channels, and thin lines out of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gradient_map(
    maps: Float[Tensor, "B C H W"], sigma: float
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B 2 H W"]]:
    """How fast channels change together, and in which direction.

    The root of the largest eigenvalue of the sum over channels of ∇c ∇cᵀ (Di Zenzo 1986), after Gaussian smoothing by
    `sigma` pixels; multiplied by sigma·√(2π), so that a step of height 1 gives about 1. The directions are unit
    vectors (x, y).
    """
    smooth = gaussian_blur(maps, sigma)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    xx, yy, xy = (dx * dx).sum(1), (dy * dy).sum(1), (dx * dy).sum(1)
    half = ((xx - yy).square() / 4 + xy.square()).clamp_min(0.0).sqrt()
    largest = (xx + yy) / 2 + half
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    strength = largest.clamp_min(0.0).sqrt() * (sigma * math.sqrt(2 * math.pi))
    return strength, torch.stack([angle.cos(), angle.sin()], dim=1)


def thin_lines(strength: Float[Tensor, "B H W"], direction: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B H W"]:
    """Non-maximum suppression: 0 where a neighbour one pixel along the direction, interpolated, is stronger."""
    height, width = strength.shape[-2:]
    rows = torch.arange(height, device=strength.device, dtype=strength.dtype).unsqueeze(-1)
    columns = torch.arange(width, device=strength.device, dtype=strength.dtype)
    ahead, behind = (
        _sample(strength, columns + sign * direction[:, 0], rows + sign * direction[:, 1]) for sign in (1, -1)
    )
    # A plateau keeps one of its sides.
    return torch.where((strength >= ahead) & (strength > behind), strength, 0.0)


def gaussian_blur(maps: Float[Tensor, "B C H W"], sigma: float) -> Float[Tensor, "B C H W"]:
    """Separable smoothing with repeated edges; `sigma` in pixels, 0 for none."""
    if sigma <= 0:
        return maps
    reach = max(1, math.ceil(3 * sigma))
    taps = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (taps / sigma).square())
    kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
    flat = maps.flatten(0, 1).unsqueeze(1)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel.transpose(-1, -2))
    return flat.reshape(maps.shape)


def _sample(
    values: Float[Tensor, "B H W"], x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    height, width = values.shape[-2:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(values.unsqueeze(1), grid, padding_mode="border", align_corners=False).squeeze(1)
