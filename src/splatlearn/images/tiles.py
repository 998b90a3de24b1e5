"""Overlapping tiles that cover a picture from edge to edge."""

from __future__ import annotations

import math


def tile_starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where the tiles along one axis begin, in pixels, spread evenly from edge to edge.

    - `length`, `side`: pixels of the picture and of a tile along the axis; `side` is at most `length`.
    - `overlap`: smallest share of a tile that the next one also covers, in [0, 1).
    """
    room = length - side
    gaps = math.ceil(room / max(1.0, side * (1.0 - overlap)))
    return [round(room * number / gaps) for number in range(gaps + 1)] if gaps else [0]
