"""Thinning of binary maps to lines, at the pixels that are set alone."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Bool

BITS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Row and column of the neighbours x1 … x8, from the east against the clock."""


def thin(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask thinned to lines (Guo and Hall 1989, the two-subiteration algorithm A1).

    The same as scikit-image's `thin`, which looks at every pixel in every round; few are set in maps of edges.
    """
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = mask
    flat = padded.reshape(-1)
    steps = [row * (width + 2) + column for row, column in BITS]
    places = np.flatnonzero(flat)
    before = -1
    while len(places) != before:
        before = len(places)
        for table in _deletions():
            codes = np.zeros(len(places), dtype=np.uint8)
            for bit, step in enumerate(steps):
                codes |= flat[places + step] << np.uint8(bit)
            gone = table[codes]
            flat[places[gone]] = 0
            places = places[~gone]
    return padded[1:-1, 1:-1].astype(bool)


@cache
def _deletions() -> tuple[Bool[np.ndarray, " 256"], Bool[np.ndarray, " 256"]]:
    """Whether a pixel with each of 256 neighbourhoods is deleted, in the first and in the second subiteration."""
    x = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(bool)
    # x1 follows x8; column k holds x_{k+1}.
    odd, even, after = x[:, 0::2], x[:, 1::2], np.roll(x, -1, axis=1)[:, 1::2]
    crossings = (~odd & (even | after)).sum(axis=1)
    fewer = np.minimum((odd | even).sum(axis=1), (even | after).sum(axis=1))
    common = (crossings == 1) & (fewer >= 2) & (fewer <= 3)
    first = common & ~((x[:, 1] | x[:, 2] | ~x[:, 7]) & x[:, 0])
    second = common & ~((x[:, 5] | x[:, 6] | ~x[:, 3]) & x[:, 4])
    return first, second
