"""Arrangement of the still life: toy blocks, balls, a moon on a column, and trees on a round plinth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from splatlearn.captures.still_life.surfaces import Ball, Disc, Tube, Vector, box
from splatlearn.captures.still_life.textures import (
    Color,
    framed,
    garden,
    ground,
    mirrored,
    moon,
    painted,
    photograph,
)
from splatlearn.captures.still_life.tracing import Piece, Thing

RADIUS = 1.25
"""Radius of the plinth, whose top is at height 0."""
THICKNESS = 0.14
"""Thickness of the plinth."""
DENSITY = 220.0
"""Number of texels per unit of length."""
RED, BLUE, YELLOW, GREEN = (0.80, 0.20, 0.17), (0.18, 0.38, 0.66), (0.93, 0.72, 0.20), (0.26, 0.52, 0.36)
ROCKET, HUBBLE = "rocket.jpg", "hubble_deep_field.jpg"
BLOCKS: tuple[tuple[Vector, float, float, Color, tuple[str, ...]], ...] = (
    ((-0.22, -0.02, 0.25), 0.50, 0.42, RED, ("astronaut", "chelsea", "coffee", ROCKET, HUBBLE)),
    ((-0.20, 0.00, 0.67), 0.34, -0.20, BLUE, ("chelsea", "coffee", ROCKET, "astronaut", "coins")),
    (
        (0.30, -0.44, 0.15),
        0.30,
        0.95,
        YELLOW,
        ("coffee", HUBBLE, "astronaut", "chelsea", "retina.jpg"),
    ),
)
"""Middle, side, turn, colour of the frames, and pictures of the four sides and the top."""
BALLS: tuple[tuple[float, float, float, Color], ...] = (
    (-0.22, -0.62, 0.13, RED),
    (0.02, -0.52, 0.075, YELLOW),
    (-0.62, 0.36, 0.11, BLUE),
)
"""Place, radius and colour of glossy balls."""
TREES = (
    (95, 1.02, 1.15), (128, 0.98, 0.8), (152, 1.05, 1.0), (200, 1.04, 0.7), (60, 1.06, 0.75), (20, 1.02, 0.9),
    (-52, 1.06, 0.62),
)  # fmt: skip
"""Direction from the middle in degrees, distance from it, and size of trees."""
CROWNS = ((0.10, 0.30, 0.17), (0.24, 0.26, 0.135), (0.37, 0.24, 0.10))
"""Foot, height and radius of the three cones of a tree of size 1."""
COLUMN = (0.36, 0.30)
"""Place of the column."""


def arrange() -> list[Thing]:
    """Return the things of the still life, not lit yet."""
    return [_plinth(), *_blocks(), *_balls(), _column(), *_trees()]


def _texels(length: float) -> int:
    return max(8, math.ceil(length * DENSITY))


def _plinth() -> Thing:
    side = mirrored(ground("brick", 240, (0.56, 0.40, 0.34), 0.9)[:, :66], columns=4)
    top = Piece(Disc((0.0, 0.0, 0.0), RADIUS), garden(_texels(2 * RADIUS)))
    return Thing([top, Piece(Tube((0.0, 0.0, -THICKNESS), THICKNESS, RADIUS, RADIUS), side)])


def _blocks() -> Iterator[Thing]:
    for middle, side, turn, color, pictures in BLOCKS:
        *faces, foot = box(middle, side, turn)
        shown = [framed(photograph(name, _texels(side)), color) for name in pictures]
        pieces = [Piece(face, texture) for face, texture in zip(faces, shown, strict=True)]
        yield Thing([*pieces, Piece(foot, painted(color))])


def _balls() -> Iterator[Thing]:
    for x, y, radius, color in BALLS:
        yield Thing([Piece(Ball((x, y, radius), radius), painted(color).repeat(1, 4, 8), glossy=True)])


def _column() -> Thing:
    x, y = COLUMN
    stone = ground("gravel", 44, (0.74, 0.70, 0.64), 0.5)
    slab = mirrored(stone[:, :10], columns=2)
    return Thing(
        [
            Piece(Tube((x, y, 0.0), 0.06, 0.19, 0.19), slab),
            Piece(Disc((x, y, 0.06), 0.19), stone),
            Piece(Tube((x, y, 0.06), 0.40, 0.12, 0.10), mirrored(stone)),
            Piece(Tube((x, y, 0.46), 0.05, 0.10, 0.16), slab),
            Piece(Disc((x, y, 0.51), 0.16), stone),
            Piece(Ball((x, y, 0.74), 0.24), moon(110)),
        ]
    )


def _trees() -> Iterator[Thing]:
    leaves = mirrored(ground("grass", 36, (0.20, 0.38, 0.22), 1.3), columns=2)
    bark = ground("gravel", 32, (0.36, 0.25, 0.18), 0.5)
    for degrees, away, size in TREES:
        x, y = away * math.cos(math.radians(degrees)), away * math.sin(math.radians(degrees))
        trunk = Piece(Tube((x, y, 0.0), 0.12 * size, 0.028 * size, 0.024 * size), bark)
        crowns = (Tube((x, y, foot * size), height * size, wide * size, 0.002) for foot, height, wide in CROWNS)
        yield Thing([trunk, *(Piece(crown, leaves) for crown in crowns)])
