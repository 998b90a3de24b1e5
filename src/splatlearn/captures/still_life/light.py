"""The light that leaves each piece of a still life, worked out once for all views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures.still_life.surfaces import Vector
from splatlearn.captures.still_life.tracing import (
    OFF,
    Piece,
    Sky,
    Thing,
    is_blocked,
    nearest,
    pieces_of,
    radiance,
)

TEXELS = 30.0
"""Number of points of a map of light per unit of length; light changes more slowly than a texture."""
FEWEST, MOST = 5, 88
"""Smallest and largest number of points along a side of a map of light."""
SUN_RAYS, SKY_RAYS = 16, 160
"""Number of directions on the disc of the sun, and on the whole sphere."""
GOLDEN = math.pi * (3 - math.sqrt(5))


Each = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
"""A `map`, which may work on several at once."""


def illuminate(things: Sequence[Thing], sky: Sky, each: Each = map) -> None:
    """Fill in the `radiance` of all pieces: the sun with soft shadows, the sky, and one reflection between pieces.

    All surfaces scatter evenly. The light is known at points of a grid on each piece, and read between them. All points
    have the same directions, so that the light is without noise. `each` is a `map` over the directions.
    """
    pieces = pieces_of(things)
    sizes, points, normals = _grids(pieces)
    direct = _sun(things, sky, points, normals, each)
    _scatter(pieces, sizes, direct)
    _scatter(pieces, sizes, direct + _around(things, sky, points, normals, each))


def _grids(pieces: Sequence[Piece]) -> tuple[list[int], Float[Tensor, "3 N"], Float[Tensor, "3 N"]]:
    """Return the sides of the maps of light, and the points and normals of all of them."""
    sides = [min(max(FEWEST, math.ceil(TEXELS * 2 * piece.surface.bound[1])), MOST) for piece in pieces]
    placed = []
    for piece, side in zip(pieces, sides, strict=True):
        rows, columns = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
        placed.append(piece.surface.place(torch.stack([columns.flatten(), rows.flatten()])))
    points, normals = (torch.cat(each, dim=1) for each in zip(*placed, strict=True))
    return sides, points + OFF * normals, normals


def _scatter(pieces: Sequence[Piece], sides: Sequence[int], light: Float[Tensor, "3 N"]) -> None:
    for piece, side, part in zip(pieces, sides, light.split([side**2 for side in sides], dim=1), strict=True):
        size = list(piece.albedo.shape[1:])
        wide = torch.nn.functional.interpolate(part.view(1, 3, side, side), size, mode="bilinear")
        piece.radiance = piece.albedo * wide[0]


def _sun(
    things: Sequence[Thing], sky: Sky, points: Float[Tensor, "3 N"], normals: Float[Tensor, "3 N"], each: Each
) -> Float[Tensor, "3 N"]:
    """Return the light of the sun: the mean over places on its disc."""

    def facing(offset: tuple[float, float]) -> Float[Tensor, " N"]:
        direction = _unit(torch.tensor(sky.to_sun) + sky.spread * _across(sky.to_sun, *offset))
        cosine = (direction * normals).sum(dim=0).clamp_min(0)
        rows = cosine.nonzero().squeeze(1)
        cosine[rows[is_blocked(things, points[:, rows], direction)]] = 0.0
        return cosine

    share = sum(each(facing, _on_disc(SUN_RAYS)), torch.zeros_like(points[0])) / SUN_RAYS
    return share * torch.tensor(sky.sun)[:, None]


def _around(
    things: Sequence[Thing], sky: Sky, points: Float[Tensor, "3 N"], normals: Float[Tensor, "3 N"], each: Each
) -> Float[Tensor, "3 N"]:
    """Return the light of the sky and of other pieces: the mean over directions, weighted by their cosines."""
    pieces = pieces_of(things)

    def arriving(direction: Float[Tensor, "3 1"]) -> tuple[Float[Tensor, "3 N"], Float[Tensor, " N"]]:
        cosine = (direction * normals).sum(dim=0).clamp_min(0)
        rows = cosine.nonzero().squeeze(1)
        met = nearest(things, points[:, rows], direction)
        found = torch.zeros_like(points)
        found[:, rows] = cosine[rows] * radiance(pieces, met, sky.light(direction).expand(3, len(rows)))
        return found, cosine

    light, weight = torch.zeros_like(points), torch.zeros_like(points[0])
    for found, cosine in each(arriving, _on_sphere(SKY_RAYS)):
        light += found
        weight += cosine
    return light / weight


def _on_sphere(count: int) -> list[Float[Tensor, "3 1"]]:
    """Return directions spread evenly over the sphere."""
    made = []
    for number in range(count):
        height, turn = 1 - 2 * (number + 0.5) / count, GOLDEN * number
        flat = math.sqrt(1 - height**2)
        made.append(torch.tensor([flat * math.cos(turn), flat * math.sin(turn), height])[:, None])
    return made


def _on_disc(count: int) -> list[tuple[float, float]]:
    """Return places spread evenly over the unit disc."""
    radii = (math.sqrt((number + 0.5) / count) for number in range(count))
    return [(radius * math.cos(GOLDEN * n), radius * math.sin(GOLDEN * n)) for n, radius in enumerate(radii)]


def _across(direction: Vector, first: float, second: float) -> Float[Tensor, " 3"]:
    """Return a vector at right angles to a direction that is not level, by its two coordinates."""
    toward = torch.tensor(direction)
    level = torch.nn.functional.normalize(torch.linalg.cross(toward, torch.tensor((0.0, 1.0, 0.0))), dim=0)
    return first * level + second * torch.linalg.cross(toward, level)


def _unit(vector: Float[Tensor, " 3"]) -> Float[Tensor, "3 1"]:
    return torch.nn.functional.normalize(vector, dim=0)[:, None]
