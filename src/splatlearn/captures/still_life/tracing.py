"""Rays to the nearest of many pieces of surfaces, and the light that comes back along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.captures.still_life.surfaces import Surface, Vector, dot

CHUNK = 1 << 15
"""Number of rays that are traced at once, few enough for the processor's caches."""
COAT = 0.04
"""Reflectance of a glossy surface that is looked at straight."""
SHARPNESS, STRENGTH = 90.0, 5.0
"""Exponent and factor of the sun's highlight on a glossy surface."""
OFF = 1e-3
"""Distance from a surface at which rays from it begin."""


@dataclass(eq=False)
class Piece:
    """A surface with its texture.

    - `albedo` [3, H, W]: the share of light that it scatters, linear.
    - `glossy`: whether it has a clear coat, which reflects.
    - `radiance` [3, H, W]: the light that leaves it, once `illuminate` has worked it out.
    """

    surface: Surface
    albedo: Float[Tensor, "3 H W"]
    glossy: bool = False
    radiance: Float[Tensor, "3 H W"] = field(init=False)

    def __post_init__(self) -> None:
        self.radiance = torch.zeros_like(self.albedo)


@dataclass(frozen=True)
class Thing:
    """Pieces that lie together, within a ball: a ray that misses it misses them all."""

    pieces: Sequence[Piece]

    @property
    def bound(self) -> tuple[Vector, float]:
        """The middle and the radius of a ball around all pieces."""
        bounds = [piece.surface.bound for piece in self.pieces]
        middle = tuple(sum(place[axis] for place, _ in bounds) / len(bounds) for axis in range(3))
        radius = max(math.dist(middle, place) + reach for place, reach in bounds)
        return (middle[0], middle[1], middle[2]), radius


@dataclass(frozen=True)
class Sky:
    """Light from outside: colours of the zenith, the horizon and below it, and of a soft sun.

    `toward`: the direction of the sun; `spread`: the radius of its disc, radians.
    """

    zenith: Vector = (0.72, 0.84, 1.05)
    horizon: Vector = (0.95, 0.93, 0.90)
    below: Vector = (0.34, 0.32, 0.30)
    sun: Vector = (2.5, 2.28, 1.95)
    toward: Vector = (0.5, -0.45, 0.74)
    spread: float = 0.08

    def light(self, directions: Float[Tensor, "3 N"]) -> Float[Tensor, "3 N"]:
        """Return the light of directions without the sun."""
        zenith, horizon, below = (
            directions.new_tensor(each)[:, None] for each in (self.zenith, self.horizon, self.below)
        )
        height = directions[2:].clamp(-1, 1)
        above = horizon + (zenith - horizon) * height.clamp_min(0).sqrt()
        return torch.where(height >= 0, above, below + (horizon - below) * (1 + 4 * height).clamp_min(0))

    @property
    def to_sun(self) -> Vector:
        """The direction of the sun, of length 1."""
        length = math.hypot(*self.toward)
        x, y, z = (value / length for value in self.toward)
        return (x, y, z)


@dataclass(frozen=True, eq=False)
class Met:
    """First intersections of rays: distances (infinite if none), pieces by number (−1 if none), coordinates on them."""

    distance: Float[Tensor, " N"]
    piece: Int64[Tensor, " N"]
    at: Float[Tensor, "2 N"]


def pieces_of(things: Sequence[Thing]) -> list[Piece]:
    """Return all pieces, in the order of their numbers."""
    return [piece for thing in things for piece in thing.pieces]


def nearest(things: Sequence[Thing], origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Met:
    """Return the first piece along each ray; M is N or 1."""
    count = origins.shape[1]
    distance, piece = origins.new_full((count,), math.inf), torch.full((count,), -1)
    at = origins.new_zeros(2, count)
    number = -1
    for thing in things:
        rows = _near(thing.bound, origins, directions)
        start, toward = origins[:, rows], _rows(directions, rows)
        for each in thing.pieces:
            number += 1
            if not len(rows):
                continue
            met, place = each.surface.hit(start, toward)
            is_first = (met < distance[rows]).nonzero().squeeze(1)
            found = rows[is_first]
            distance[found], piece[found], at[:, found] = met[is_first], number, place[:, is_first]
    return Met(distance, piece, at)


def is_blocked(
    things: Sequence[Thing], origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]
) -> Bool[Tensor, " N"]:
    """Return whether anything lies along each ray; M is N or 1."""
    blocked = torch.zeros(origins.shape[1], dtype=torch.bool)
    for thing in things:
        rows = _near(thing.bound, origins, directions)
        if not len(rows):
            continue
        start, toward = origins[:, rows], _rows(directions, rows)
        for each in thing.pieces:
            blocked[rows[each.surface.hit(start, toward)[0].isfinite()]] = True
    return blocked


def radiance(pieces: Sequence[Piece], met: Met, outside: Float[Tensor, "3 N"]) -> Float[Tensor, "3 N"]:
    """Return the light that leaves what rays meet, without reflections; that of `outside` where they meet nothing."""
    light = outside.clone()
    order = met.piece.argsort()
    counts = torch.bincount(met.piece + 1, minlength=len(pieces) + 1).tolist()
    for piece, rows in zip(pieces, order.split(counts)[1:], strict=True):
        if len(rows):
            light[:, rows] = look_up(piece.radiance, met.at[:, rows])
    return light


def look_up(texture: Float[Tensor, "3 H W"], at: Float[Tensor, "2 N"]) -> Float[Tensor, "3 N"]:
    """Read a texture between its pixels at coordinates in [0, 1]."""
    grid = (2 * at.T - 1)[None, None]
    return torch.nn.functional.grid_sample(texture[None], grid, padding_mode="border", align_corners=False)[0, :, 0]


def seen(
    things: Sequence[Thing], sky: Sky, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 N"]
) -> tuple[Float[Tensor, "3 N"], Met]:
    """Return the light that comes back along rays, 0 from nothing, and what they meet."""
    pieces = pieces_of(things)
    met = nearest(things, origins, directions)
    light = radiance(pieces, met, torch.zeros_like(directions))
    for number, piece in enumerate(pieces):
        rows = (met.piece == number).nonzero().squeeze(1) if piece.glossy else ()
        if len(rows):
            light[:, rows] += _reflected(things, sky, piece, met.at[:, rows], directions[:, rows])
    return light, met


def _reflected(
    things: Sequence[Thing], sky: Sky, piece: Piece, at: Float[Tensor, "2 N"], directions: Float[Tensor, "3 N"]
) -> Float[Tensor, "3 N"]:
    """Return what a clear coat reflects, by Schlick's approximation of Fresnel's formula, with the sun's highlight."""
    points, normals = piece.surface.place(at)
    cosine = -(directions * normals).sum(dim=0)
    mirrored = directions + 2 * cosine * normals
    met = nearest(things, points + OFF * normals, mirrored)
    light = radiance(pieces_of(things), met, sky.light(mirrored))
    highlight = STRENGTH * dot(mirrored, sky.to_sun).clamp_min(0) ** SHARPNESS * (met.piece < 0)
    share = COAT + (1 - COAT) * (1 - cosine.clamp(0, 1)) ** 5
    return share * (light + highlight * light.new_tensor(sky.sun)[:, None])


def _near(
    bound: tuple[Vector, float], origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]
) -> Int64[Tensor, " R"]:
    """Return the rays that come near a ball."""
    middle, radius = bound
    reach = 1.001 * radius + OFF
    start = origins.new_tensor(middle)[:, None] - origins
    along = start[0] * directions[0] + start[1] * directions[1] + start[2] * directions[2]
    off = start[0].square() + start[1].square() + start[2].square() - along.square()
    return ((off <= reach**2) & (along > -reach)).nonzero().squeeze(1)


def _rows(directions: Float[Tensor, "3 M"], rows: Int64[Tensor, " R"]) -> Float[Tensor, "3 _"]:
    """Return the directions of some rays; one direction stays one."""
    return directions if directions.shape[1] == 1 else directions[:, rows]
