"""Coloured shapes that occlude one another, as Gaussians of known order and as true masks."""

from __future__ import annotations

import torch
from torch import Tensor

from scenes import gaussians_of
from splatlearn.core.cameras import GMAE_DISTANCE, Camera
from splatlearn.zero_shot import ImageGaussians

SIZE = (96, 128)
STEPS = (4, 2, 1)
"""Pixels between the centres of neighbouring Gaussians of each shape: about as many in each."""
COLORS = ((0.2, 0.5, 0.3), (0.9, 0.2, 0.1), (0.1, 0.2, 0.9))
DEPTHS = (0.6, 0.0, -0.6)


def shape_masks() -> list[Tensor]:
    """The ground, a disc in front of it, and a smaller square in front of the disc; each a mask of what is seen."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    disc = (x - 60).square() + (y - 48).square() < 28**2
    square = ((x - 76).abs() < 12) & ((y - 48).abs() < 12)
    return [~(disc | square), disc & ~square, square]


def shape_gaussians(tokens: Tensor | None = None) -> ImageGaussians:
    """Each shape filled with small Gaussians of its colour and depth; the ground lies behind all of the image."""
    ground, disc, square = shape_masks()
    whole = [torch.ones_like(ground), disc | (square & _in_disc()), square]
    parts = []
    for mask, color, depth, step in zip(whole, COLORS, DEPTHS, STEPS, strict=True):
        rows, columns = mask[step // 2 :: step, step // 2 :: step].nonzero().unbind(-1)
        x = (columns * step + step // 2 + 0.5) / SIZE[1] * 2 - 1
        y = (rows * step + step // 2 + 0.5) / SIZE[0] * 2 - 1
        means = torch.stack([x, y, torch.full_like(x, depth)], dim=-1)
        # A standard deviation of 0.6 steps, the same in pixels along both axes of this camera.
        pixel = (GMAE_DISTANCE + depth) * 2.0 / SIZE[1]
        scales = torch.tensor([1.0, SIZE[1] / SIZE[0], 1.0]) * (0.6 * step * pixel)
        parts.append((means, scales.expand(len(x), 3), torch.tensor(color).expand(len(x), 3)))
    means, scales, colors = (torch.cat(each).unsqueeze(0) for each in zip(*parts, strict=True))
    quaternions = torch.tensor([1.0, 0, 0, 0]).expand(1, means.shape[1], 4).contiguous()
    gaussians = gaussians_of([means, scales, quaternions, colors, torch.full(means.shape[:2], 0.95)])
    return ImageGaussians(gaussians, Camera.gmae(*SIZE), "white", tokens)


def _in_disc() -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return (x - 60).square() + (y - 48).square() < 28**2


def overlap(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())
