"""The 14 numbers for each Gaussian that a GMAE's head predicts, and their meaning."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import GMAE_DISTANCE
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import unit_quaternions
from splatlearn.models.gmae_config import GMAEConfig

NUMBERS = (3, 3, 4, 3, 1)
"""Numbers for the centre, scale, rotation, colour and opacity of a Gaussian, in this order; 14 in all."""
ROTATION, OPACITY = 6, 13
"""Index of a rotation's first number, w, and of the opacity among the 14 numbers."""

DARKEST = 0.02
"""Colours that are seen are kept so far from 0 and 1, where a sigmoid has no slope."""

SMALLEST_SHARE = 1e-6
"""Smallest initial scale of a Gaussian in the grid, as a share of the limit of scales: a logit has to be finite."""


def grid_numbers(config: GMAEConfig) -> Float[Tensor, "K 14"]:
    """The numbers of Gaussians whose centres form a grid over the image and whose extents overlap a little.

    The Gaussians of one query lie beside each other. Depth, colour and opacity start in the middle of their ranges.
    """
    shape = grid_shape(config.num_queries, config.gaussians_per_query)
    rows, columns, down, across = shape
    y = (torch.arange(rows)[:, None, None, None] * down + torch.arange(down)[:, None] + 0.5) / (rows * down)
    x = (torch.arange(columns)[:, None, None] * across + torch.arange(across) + 0.5) / (columns * across)
    numbers = torch.zeros(config.gaussians, sum(NUMBERS))
    for axis, place in enumerate((x, y)):
        centred = (place.expand(shape).reshape(-1) - 0.5) / config.reach
        numbers[:, axis] = torch.logit(centred + 0.5)
    # For the paper's camera, 8 away, a standard deviation of 8 would span half the image.
    scale = config.initial_scale * GMAE_DISTANCE * 2.0 / math.sqrt(config.gaussians)
    share = min(0.9, max(SMALLEST_SHARE, scale / config.scale_limit))
    numbers[:, 3:6] = math.log(share / (1.0 - share))
    return numbers


def grid_shape(queries: int, per_query: int) -> tuple[int, int, int, int]:
    """Rows and columns of queries, and of the Gaussians within one, such that the whole is as square as it can be."""
    shapes = [
        (rows, queries // rows, down, per_query // down) for rows in _divisors(queries) for down in _divisors(per_query)
    ]

    def lengthiness(shape: tuple[int, int, int, int]) -> tuple[float, float]:
        rows, columns, down, across = shape
        return abs(math.log(rows * down / (columns * across))), abs(math.log(down / across))

    return min(shapes, key=lengthiness)


def _divisors(number: int) -> list[int]:
    """The divisors of a number, smallest first."""
    small = [each for each in range(1, math.isqrt(number) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def gaussians_from_numbers(
    numbers: Float[Tensor, "*B K 14"], config: GMAEConfig, seen: Float[Tensor, "*B S 3"] | None = None
) -> Gaussians:
    """Turn the head's numbers [*B, K, 14] into Gaussians (arXiv 2501.03229, section 3, and the authors' code).

    Centres 2·(sigmoid − 0.5) in (−1, 1), scales c·sigmoid in (0, c), colours and opacities sigmoid, unit quaternions.
    Other choices of `config.depth` than the paper's stretch or shrink these ranges, and `config.color` may take the
    bound off the colours or start them from those `seen`. Computed in float32, in float64 for float64 numbers.
    """
    center, scale, rotation, color, opacity = at_least_float32(numbers).split(NUMBERS, dim=-1)
    turn = uniform_quaternions if config.rotation == "uniform" else unit_quaternions
    return Gaussians(
        means=_stretched(2.0 * (center.sigmoid() - 0.5), config.reach),
        scales=config.largest_scale * scale.sigmoid(),
        quaternions=turn(rotation),
        colors=_colors(color, config, seen),
        opacities=opacity.sigmoid().squeeze(-1),
    )


def _colors(numbers: Float[Tensor, "*B K 3"], config: GMAEConfig, seen: Tensor | None) -> Float[Tensor, "*B K 3"]:
    if config.color == "linear":
        return numbers + 0.5
    if config.color == "residual" and seen is not None:
        numbers = numbers + torch.logit(seen.to(numbers), eps=DARKEST)
    return numbers.sigmoid()


def _stretched(means: Float[Tensor, "*B 3"], reach: float) -> Float[Tensor, "*B 3"]:
    return means if reach == 1.0 else means * means.new_tensor((reach, reach, 1.0))


def uniform_quaternions(numbers: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Map the sigmoids (u, v, w) of the first 3 numbers to a rotation, uniform where they are (Shoemake 1992)."""
    u, v, w = numbers[..., :3].sigmoid().unbind(-1)
    # The square roots have no finite slope at 0 and 1, where a saturated sigmoid ends up.
    u = u.clamp(1e-6, 1.0 - 1e-6)
    v, w = 2.0 * math.pi * v, 2.0 * math.pi * w
    first, second = (1.0 - u).sqrt(), u.sqrt()
    return torch.stack([first * v.sin(), first * v.cos(), second * w.sin(), second * w.cos()], dim=-1)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()
