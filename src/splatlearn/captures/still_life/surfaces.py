"""Pieces of surfaces that rays are traced to: quadrilaterals, discs, sides of cones, and balls.

Rays are origins [3, N] and directions [3, N], or one direction [3, 1], of length 1; distances are infinite where a ray
misses. A place on a piece has two coordinates in [0, 1]: along the columns and down the rows of its texture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

CLOSE = 1e-4
"""Distance below which a ray does not see the surface that it left."""
Vector = tuple[float, float, float]
Hit = tuple[Float[Tensor, " N"], Float[Tensor, "2 N"]]
"""Distances along rays, and coordinates on the piece."""
Placed = tuple[Float[Tensor, "3 N"], Float[Tensor, "3 N"]]
"""Points, and normals that point outwards."""


@runtime_checkable
class Surface(Protocol):
    """A piece of a surface."""

    @property
    def bound(self) -> tuple[Vector, float]:
        """The middle and the radius of a ball around it."""
        ...

    def hit(self, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Hit:
        """Return where rays meet the piece; M is N or 1."""
        ...

    def place(self, at: Float[Tensor, "2 N"]) -> Placed:
        """Return the points and normals at coordinates."""
        ...


@dataclass(frozen=True)
class Quad:
    """A rectangle: its first corner, the side along the columns of its texture, and that down the rows."""

    corner: Vector
    along: Vector
    down: Vector

    @property
    def bound(self) -> tuple[Vector, float]:
        """The middle and the radius of a ball around it."""
        middle = tuple(c + (a + d) / 2 for c, a, d in zip(self.corner, self.along, self.down, strict=True))
        return (middle[0], middle[1], middle[2]), math.hypot(*self.along, *self.down) / 2

    @property
    def normal(self) -> Vector:
        """The direction outwards, of any length."""
        (a, b, c), (d, e, f) = self.down, self.along
        return (b * f - c * e, c * d - a * f, a * e - b * d)

    def hit(self, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Hit:
        """Return where rays meet the piece; M is N or 1."""
        start = origins - origins.new_tensor(self.corner)[:, None]
        distance = _ahead(-dot(start, self.normal) / dot(directions, self.normal))
        inside = start + _finite(distance) * directions
        at = torch.stack([dot(inside, side) / math.hypot(*side) ** 2 for side in (self.along, self.down)])
        return torch.where(((at >= 0) & (at <= 1)).all(dim=0), distance, math.inf), at

    def place(self, at: Float[Tensor, "2 N"]) -> Placed:
        """Return the points and normals at coordinates."""
        corner, along, down = (at.new_tensor(each)[:, None] for each in (self.corner, self.along, self.down))
        points = corner + at[:1] * along + at[1:] * down
        normal = torch.nn.functional.normalize(at.new_tensor(self.normal), dim=0)
        return points, normal[:, None].expand_as(points)


@dataclass(frozen=True)
class _Round:
    """A piece around a middle."""

    middle: Vector
    radius: float

    @property
    def bound(self) -> tuple[Vector, float]:
        """The middle and the radius of a ball around it."""
        return self.middle, self.radius


@dataclass(frozen=True)
class Disc(_Round):
    """A level disc seen from above."""

    def hit(self, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Hit:
        """Return where rays meet the piece; M is N or 1."""
        start = origins - origins.new_tensor(self.middle)[:, None]
        distance = _ahead(-start[2] / directions[2])
        flat = (start[:2] + _finite(distance) * directions[:2]) / self.radius
        return torch.where(flat.square().sum(dim=0) <= 1, distance, math.inf), (flat + 1) / 2

    def place(self, at: Float[Tensor, "2 N"]) -> Placed:
        """Return the points and normals at coordinates."""
        flat = self.radius * (2 * at - 1)
        points = torch.cat([flat, torch.zeros_like(flat[:1])]) + at.new_tensor(self.middle)[:, None]
        return points, at.new_tensor((0.0, 0.0, 1.0))[:, None].expand_as(points)


@dataclass(frozen=True)
class Tube:
    """The side of an upright cone or cylinder: the middle of its foot, its height, and the radii below and above."""

    foot: Vector
    height: float
    below: float
    above: float

    @property
    def bound(self) -> tuple[Vector, float]:
        """The middle and the radius of a ball around it."""
        x, y, z = self.foot
        return (x, y, z + self.height / 2), math.hypot(self.height / 2, max(self.below, self.above))

    @property
    def slope(self) -> float:
        """By how much the radius grows with the height."""
        return (self.above - self.below) / self.height

    def hit(self, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Hit:
        """Return where rays meet the piece; M is N or 1."""
        x, y, z = origins - origins.new_tensor(self.foot)[:, None]
        dx, dy, dz = directions
        radius = self.below + self.slope * z
        a = dx.square() + dy.square() - (self.slope * dz).square()
        b = x * dx + y * dy - self.slope * radius * dz
        inside = b.square() - a * (x.square() + y.square() - radius.square())
        root = inside.clamp_min(0).sqrt()
        best = torch.full_like(x, math.inf)
        for distance in ((-b - root) / a, (root - b) / a):
            height = z + distance * dz
            is_side = (inside >= 0) & (distance > CLOSE) & (height >= 0) & (height <= self.height)
            best = torch.where(is_side & (distance < best), distance, best)
        reach = _finite(best)
        turn = torch.atan2(y + reach * dy, x + reach * dx) / (2 * math.pi) + 0.5
        return best, torch.stack([turn, 1 - (z + reach * dz) / self.height])

    def place(self, at: Float[Tensor, "2 N"]) -> Placed:
        """Return the points and normals at coordinates."""
        turn, height = 2 * math.pi * (at[0] - 0.5), (1 - at[1]) * self.height
        radius = self.below + self.slope * height
        points = torch.stack([radius * turn.cos(), radius * turn.sin(), height])
        outward = torch.stack([turn.cos(), turn.sin(), torch.full_like(turn, -self.slope)])
        return points + at.new_tensor(self.foot)[:, None], torch.nn.functional.normalize(outward, dim=0)


@dataclass(frozen=True)
class Ball(_Round):
    """A ball; the columns of its texture go around it, the rows down."""

    def hit(self, origins: Float[Tensor, "3 N"], directions: Float[Tensor, "3 M"]) -> Hit:
        """Return where rays meet the piece; M is N or 1."""
        start = origins - origins.new_tensor(self.middle)[:, None]
        b = (start * directions).sum(dim=0)
        inside = b.square() - start.square().sum(dim=0) + self.radius**2
        root = inside.clamp_min(0).sqrt()
        distance = torch.minimum(_ahead(-b - root), _ahead(root - b))
        distance = torch.where(inside >= 0, distance, math.inf)
        x, y, z = (start + _finite(distance) * directions) / self.radius
        return distance, torch.stack([torch.atan2(y, x) / (2 * math.pi) + 0.5, z.clamp(-1, 1).acos() / math.pi])

    def place(self, at: Float[Tensor, "2 N"]) -> Placed:
        """Return the points and normals at coordinates."""
        turn, fall = 2 * math.pi * (at[0] - 0.5), math.pi * at[1]
        normals = torch.stack([fall.sin() * turn.cos(), fall.sin() * turn.sin(), fall.cos()])
        return at.new_tensor(self.middle)[:, None] + self.radius * normals, normals


def box(middle: Vector, side: float, turn: float) -> list[Quad]:
    """Return the four sides, the top and the foot of an upright cube, turned about the vertical by `turn` radians."""
    x, y, z = middle
    half = side / 2
    ahead, aside = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
    faces = []
    for _ in range(4):
        corner = (x + half * (ahead[0] - aside[0]), y + half * (ahead[1] - aside[1]), z + half)
        faces.append(Quad(corner, (side * aside[0], side * aside[1], 0.0), (0.0, 0.0, -side)))
        ahead, aside = aside, (-ahead[0], -ahead[1])
    for up in (1.0, -1.0):
        corner = (x - half * (ahead[0] - up * aside[0]), y - half * (ahead[1] - up * aside[1]), z + up * half)
        along = (side * ahead[0], side * ahead[1], 0.0)
        faces.append(Quad(corner, along, (-up * side * aside[0], -up * side * aside[1], 0.0)))
    return faces


def dot(vectors: Float[Tensor, "3 N"], other: Vector) -> Float[Tensor, " N"]:
    """Return the scalar products of vectors with one other."""
    x, y, z = other
    return x * vectors[0] + y * vectors[1] + z * vectors[2]


def _ahead(distance: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return the distances, infinite where they do not lie ahead."""
    return torch.where(distance > CLOSE, distance, math.inf)


def _finite(distance: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    return distance.nan_to_num(posinf=0.0)
