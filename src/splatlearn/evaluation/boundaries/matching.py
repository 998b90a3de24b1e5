"""One-to-one matching of boundary pixels within a tolerance, as the BSDS benchmark counts hits."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from splatlearn.core.errors import InputError

TOLERANCE = 0.0075
"""Largest distance of a match, as a share of the image's diagonal (Martin, Fowlkes and Malik 2004)."""


def match_boundaries(
    predicted: Bool[np.ndarray, "H W"], annotated: Bool[np.ndarray, "H W"], tolerance: float = TOLERANCE
) -> Bool[np.ndarray, "H W"]:
    """Which predicted boundary pixels find an annotated one of their own.

    As many pixels are matched as can be, none to a partner farther than `tolerance` image diagonals; near pairs are
    joined first, and longer ones only where that matches more. Because every pixel has one partner at most, the
    number of True entries is that of matched annotated pixels too. Raises InputError for masks of different sizes and
    a negative tolerance.
    """
    matched = np.zeros(predicted.size, dtype=bool)
    places = np.flatnonzero(predicted)
    matched[places] = Annotated(annotated, tolerance).match(predicted.shape, places)
    return matched.reshape(predicted.shape)


class Annotated:
    """Annotated boundaries, ready to be matched with many maps; `match_boundaries` says how.

    Raises InputError for a negative tolerance.
    """

    def __init__(self, annotated: Bool[np.ndarray, "H W"], tolerance: float = TOLERANCE) -> None:
        if not tolerance >= 0:
            raise InputError(f"tolerance: expected at least 0, got {tolerance}")
        height, width = annotated.shape
        reach = tolerance * math.hypot(height, width)
        self.shape = annotated.shape
        self.count = int(annotated.sum())
        margin = math.floor(reach)
        # The number of annotated pixels stands for none.
        numbers = np.pad(np.full(annotated.shape, self.count, dtype=np.int32), margin, constant_values=self.count)
        numbers[margin : margin + height, margin : margin + width][annotated] = np.arange(self.count, dtype=np.int32)
        self._numbers = numbers.reshape(-1)
        self._margin, self._width = margin, width + 2 * margin
        self._steps = np.array([dy * self._width + dx for dy, dx in _offsets(reach)])
        near = np.zeros(numbers.size, dtype=bool)
        at = np.flatnonzero(self._numbers < self.count)
        for step in self._steps:
            near[at + step] = True
        self._near = near.reshape(numbers.shape)[margin : margin + height, margin : margin + width].reshape(-1)

    def match(self, shape: tuple[int, ...], places: Int[np.ndarray, " P"]) -> Bool[np.ndarray, " P"]:
        """Which of the predicted pixels at these places of the flattened image are matched.

        Raises InputError for a map of another shape.
        """
        if shape != self.shape:
            raise InputError(f"predicted: expected shape {list(self.shape)} like annotated, got {list(shape)}")
        hits = np.zeros(len(places), dtype=bool)
        near = np.flatnonzero(self._near[places])
        hits[near[_match(self._partners(places[near]), self.count)]] = True
        return hits

    def _partners(self, places: Int[np.ndarray, " P"]) -> Int[np.ndarray, "O P"]:
        """For each displacement, shortest first, and predicted pixel, the number of the annotated pixel there."""
        rows, columns = np.divmod(places, self.shape[1])
        padded = (rows + self._margin) * self._width + columns + self._margin
        return self._numbers[padded[None, :] + self._steps[:, None]]


@lru_cache(maxsize=64)
def _offsets(reach: float) -> tuple[tuple[int, int], ...]:
    """Displacements of at most `reach` pixels, shortest first."""
    side = range(-math.floor(reach), math.floor(reach) + 1)
    near = [(dy, dx) for dy in side for dx in side if dy * dy + dx * dx <= reach * reach]
    return tuple(sorted(near, key=lambda each: each[0] ** 2 + each[1] ** 2))


def _match(partners: Int[np.ndarray, "O P"], count: int) -> Int[np.ndarray, " M"]:
    """Which predicted pixels, each near an annotated one, are matched."""
    own, taken = _near_first(partners, count)
    matched = own < count
    # Matching by distance is maximal but not maximum: flow through the residual graph finds what more can be matched,
    # and never leaves a matched pixel without a partner.
    reached = _reachable(partners, own, count)
    spare = np.zeros(count + 1, dtype=bool)
    spare[partners[:, reached]] = True
    spare = np.flatnonzero(spare & ~taken)
    if len(spare):
        matched[reached[_augmented(partners[:, reached], own[reached], spare, count)]] = True
    return np.flatnonzero(matched)


def _near_first(partners: Int[np.ndarray, "O P"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Match by rising distance; returns each predicted pixel's partner and which annotated pixels are taken.

    Pixels seen through one displacement have different partners, so that a whole displacement is matched at once.
    """
    own = np.full(partners.shape[1], count, dtype=np.int32)
    taken = np.zeros(count + 1, dtype=bool)
    taken[count] = True
    waiting = np.arange(partners.shape[1])
    for row in partners:
        found = row[waiting]
        fits = ~taken[found]
        own[waiting[fits]] = found[fits]
        taken[found[fits]] = True
        waiting = waiting[~fits]
    return own, taken


def _reachable(partners: Int[np.ndarray, "O P"], own: Int[np.ndarray, " P"], count: int) -> Int[np.ndarray, " R"]:
    """The predicted pixels on alternating paths from those without a partner."""
    holder = np.full(count + 1, -1, dtype=np.int64)
    holder[own] = np.arange(len(own))
    holder[count] = -1
    reached = own == count
    front = np.flatnonzero(reached)
    while len(front):
        seen = np.zeros(count + 1, dtype=bool)
        seen[partners[:, front]] = True
        holders = holder[seen]
        holders = holders[holders >= 0]
        front = holders[~reached[holders]]
        reached[front] = True
    return np.flatnonzero(reached)


def _augmented(
    partners: Int[np.ndarray, "O P"], own: Int[np.ndarray, " P"], spare: Int[np.ndarray, " S"], count: int
) -> Int[np.ndarray, " A"]:
    """The pixels without a partner from which augmenting paths lead to spare ones, all at once.

    Nodes: the source, predicted pixels, annotated pixels, the sink. A matched pair is an edge from its annotated to
    its predicted pixel, every other candidate pair one the other way.
    """
    pixels = partners.shape[1]
    free, matched = np.flatnonzero(own == count), np.flatnonzero(own < count)
    place, pixel = np.divmod(np.flatnonzero((partners < count) & (partners != own)), pixels)
    sink = 1 + pixels + count
    tails = np.concatenate([np.zeros_like(free), 1 + pixel, 1 + pixels + own[matched], 1 + pixels + spare])
    heads = np.concatenate([1 + free, 1 + pixels + partners[place, pixel], 1 + matched, np.full_like(spare, sink)])
    graph = csr_matrix((np.ones(len(tails), dtype=np.int32), (tails, heads)), shape=(sink + 1, sink + 1))
    flow: csr_matrix = maximum_flow(graph, 0, sink).flow
    begin, end = flow.indptr[:2]
    used = flow.data[begin:end] > 0
    return flow.indices[begin:end][used] - 1
