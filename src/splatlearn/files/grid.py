"""Sorting of rows of numbers onto a picture, so that neighbouring pixels are alike: a self-organising grid.

Morgenstern et al. 2024 (Self-Organizing Gaussians, arXiv 2312.13299) by parallel linear assignment: the picture is
blurred, ever less, and groups of four pixels are put into the best of their 24 orders beside the blurred picture, all
groups at once. A last phase has no blur: its groups are of pixels that do not touch, so that the best order of each
lowers the cost itself, the sum of squared differences of neighbours, as much as it can.

Letters in shapes: K rows of numbers, F numbers each, P pixels, G groups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole

SHRINK = 0.95
"""By which the radius of the blur is multiplied after each phase; the published one."""
LEAST_GAIN = 1e-4
"""A phase ends after a round that lowers its cost by a smaller share; the published one."""
SMALLEST_BLOCK = 16
"""Groups are drawn within blocks of at least this side, pixels."""
IDLE_ROUNDS = 12
"""Rounds of the last phase that together gain less than LEAST_GAIN, after which it ends."""
CELLS_OF_STARTS = 256
"""Small pictures are sorted from several starts, together of about this number of pixels, and the best is taken."""
RESORTED = 10
"""Side of a picture whose phases a picture goes through that has been sorted before."""
GROUP = 4
EXACT = 9
"""Pictures of at most this number of pixels get the best of all orders."""


def grid_order(
    features: Float[Tensor, "K F"],
    columns: int,
    seed: int = 0,
    told: Callable[[float], None] = lambda cost: None,
    start: Int64[Tensor, " K"] | None = None,
) -> Int64[Tensor, " K"]:
    """Return the order [K] in which rows of numbers fill a picture, row by row, such that neighbours are alike.

    - `features`: finite, each as important as its differences are large; `columns`: of the picture, whose last row may
      not be full.
    - `seed`: of the first order and of the groups. `told` is called with the cost after each round of the last phase,
      in which it never rises.
    - `start`: an order of nearly the same rows, from which one is found in less time; by default a random one.

    The order is the same for any number of threads. Raises InputError for numbers that are not finite.
    """
    check_whole("columns", columns, 1)
    if not bool(features.isfinite().all()):
        raise InputError("features: expected finite numbers, got some that are not")
    count = len(features)
    if count < 2:
        return torch.arange(count)
    values = features.detach().cpu().float()
    if count <= EXACT:
        return _best_of_all(values, columns)
    best: tuple[float, Tensor] | None = None
    for number in range(max(1, CELLS_OF_STARTS // count) if start is None else 1):
        generator = torch.Generator().manual_seed(seed + number)
        first = torch.randperm(count, generator=generator) if start is None else start.cpu()
        picture = _Picture(values, columns, first, generator)
        for radius in _radii(max(picture.rows, columns) if start is None else RESORTED):
            picture.approach(radius)
        cost = picture.settle(told)
        if best is None or cost < best[0]:
            best = cost, picture.order
    assert best is not None
    return best[1]


def neighbour_cost(features: Float[Tensor, "K F"], columns: int) -> float:
    """The sum of squared differences of rows of numbers that are neighbours in a picture of this many columns."""
    values = features.double()
    last = torch.arange(len(values)) % columns == columns - 1
    across = (values[1:] - values[:-1])[~last[:-1]].square().sum()
    return float(across + (values[columns:] - values[:-columns]).square().sum())


def _best_of_all(values: Float[Tensor, "K F"], columns: int) -> Int64[Tensor, " K"]:
    """The order of the least cost; the first of them if there are several."""
    orders = torch.tensor([*itertools.permutations(range(len(values)))])
    squares = (values[:, None] - values).square().sum(dim=2)
    total = torch.zeros(len(orders))
    for pixel in range(len(values)):
        if (pixel + 1) % columns and pixel + 1 < len(values):
            total += squares[orders[:, pixel], orders[:, pixel + 1]]
        if pixel + columns < len(values):
            total += squares[orders[:, pixel], orders[:, pixel + columns]]
    return orders[total.argmin()]


def _radii(side: int) -> Iterator[int]:
    """The rounded radii of the phases, from the largest to 1, each once."""
    radius, previous = side / 2 - 1, 0
    while radius >= 1:
        if round(radius) != previous:
            previous = round(radius)
            yield previous
        radius *= SHRINK


def _gains_little(before: float, cost: float) -> bool:
    return cost <= 0 or (math.isfinite(before) and before - cost <= LEAST_GAIN * before)


class _Picture:
    """Rows of numbers [P, F] in an order, of which the last ones may stand for nothing."""

    def __init__(
        self, values: Float[Tensor, "K F"], columns: int, order: Int64[Tensor, " K"], generator: torch.Generator
    ) -> None:
        self.count, self.columns, self.generator = len(values), columns, generator
        self.rows = math.ceil(self.count / columns)
        self.order = order.clone()
        self.values = torch.zeros(self.rows * columns, values.shape[1])
        self.values[: self.count] = values[self.order]
        self.is_there = torch.arange(self.rows * columns) < self.count

    def approach(self, radius: int) -> None:
        """Put groups into the order that is nearest to the blurred picture, until that gains little."""
        target = self._blurred(radius)[: self.count]
        squares = target.square().sum(dim=1)
        before = math.inf
        while True:
            groups = self._groups(torch.arange(self.count), max(SMALLEST_BLOCK, 2 * radius))
            self._swap(groups, target, torch.ones(self.count))
            here = self.values[: self.count]
            cost = float((here.square().sum(dim=1) - 2 * (here * target).sum(dim=1) + squares).double().sum())
            if _gains_little(before, cost):
                return
            before = cost

    def settle(self, told: Callable[[float], None]) -> float:
        """Lower the sum of squared differences of neighbours, until that gains little; returns the sum."""
        reference = math.inf
        for number in itertools.count():
            cost = neighbour_cost(self.values[: self.count], self.columns)
            told(cost)
            if number % IDLE_ROUNDS == 0:
                if _gains_little(reference, cost):
                    return cost
                reference = cost
            sums, degrees = self._around()
            # In every second round from anywhere, else from nearby.
            block = SMALLEST_BLOCK if number % 2 else max(self.rows, self.columns)
            self._swap(self._groups(self._apart().nonzero()[:, 0], block), sums[: self.count], degrees[: self.count])
        raise AssertionError("unreachable")

    def _swap(self, groups: Int64[Tensor, "G N"], sums: Float[Tensor, "K F"], weights: Float[Tensor, " K"]) -> None:
        """Put each group into the order that costs least, where x costs w·|x|² − 2·x·s at a pixel."""
        if groups.shape[1] < 2 or not len(groups):
            return
        values = self.values[groups]
        squares = values.square().sum(dim=2)
        costs = squares[:, :, None] * weights[groups][:, None] - 2 * values @ sums[groups].transpose(1, 2)
        orders = torch.tensor([*itertools.permutations(range(groups.shape[1]))])
        # Entry n of an order is the pixel that number n of a group goes to; the first leaves all where they are.
        totals = costs[:, torch.arange(groups.shape[1]), orders].sum(dim=2)
        least, chosen = totals.min(dim=1)
        # Sums are rounded: what gains next to nothing might be a loss.
        better = least < totals[:, 0] - 1e-6 * costs.abs().amax(dim=(1, 2))
        places = groups[better].gather(1, orders[chosen[better]])
        moved = self.order[groups[better]]
        self.values[places], self.order[places] = values[better], moved

    def _groups(self, cells: Int64[Tensor, " P"], block: int) -> Int64[Tensor, "G N"]:
        """Groups of some pixels, drawn at random within blocks of a side; a few pixels are left out."""
        size = min(GROUP, len(cells))
        if not size:
            return cells.new_zeros(0, 1)
        shift = torch.randint(1 << 30, (2,), generator=self.generator)
        down = (cells // self.columns + shift[0]) % self.rows // block
        across = (cells % self.columns + shift[1]) % self.columns // block
        keys = torch.rand(len(cells), generator=self.generator, dtype=torch.float64)
        mixed = cells[(down * self.columns + across + keys).argsort()]
        begin = int(shift[0]) % (len(cells) % size + 1)
        return mixed[begin : begin + len(cells) // size * size].view(-1, size)

    def _apart(self) -> Bool[Tensor, " K"]:
        """Pixels of which no two touch, at random."""
        keys = torch.rand(self.rows * self.columns, generator=self.generator).masked_fill(~self.is_there, -1)
        padded = torch.nn.functional.pad(keys.view(self.rows, self.columns), (1, 1, 1, 1), value=-1.0)
        around = torch.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]).amax(dim=0)
        return keys[: self.count] > around.flatten()[: self.count]

    def _around(self) -> tuple[Float[Tensor, "P F"], Float[Tensor, " P"]]:
        """The sums of the neighbours of each pixel, and how many there are."""
        shape = (self.rows, self.columns, -1)
        both = torch.cat([self.values, self.is_there[:, None].float()], dim=1).view(shape)
        padded = torch.nn.functional.pad(both, (0, 0, 1, 1, 1, 1))
        sums = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        flat = sums.reshape(self.rows * self.columns, -1)
        return flat[:, :-1], flat[:, -1]

    def _blurred(self, radius: int) -> Float[Tensor, "P F"]:
        """The picture, blurred along both axes over 2·radius + 1 pixels; what stands for nothing does not count."""
        both = torch.cat([self.values, self.is_there[:, None].float()], dim=1).T
        image = both.view(-1, 1, self.rows, self.columns)
        places = torch.arange(-radius, radius + 1)
        kernel = torch.exp(-0.5 * (places / max(radius / 2, 0.5)).square())
        across = torch.nn.functional.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, radius))
        down = torch.nn.functional.conv2d(across, kernel.view(1, 1, -1, 1), padding=(radius, 0))
        flat = down.reshape(both.shape).T
        return (flat[:, :-1] / flat[:, -1:].clamp_min(1e-12)).contiguous()
