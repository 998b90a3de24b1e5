"""The order of samples that are read in blocks: blocks at random, and samples shuffled within a window of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data.order import KeyedPermutation, sample_order

SHUFFLE_WINDOW = 4096
LANES = 64


@dataclass(frozen=True)
class StreamShape:
    """How a stream of blocks is shuffled and dealt out; with the seed and the epoch it fixes the order.

    - `shuffle_window`: samples that are shuffled together, over all lanes.
    - `lanes`: streams that are read at once. Each is an equal share of the epoch, so that a worker reads its own alone.
    - `run`: samples in a row from one lane.

    A block is read once where a batch is a multiple of `run`, and processes x workers x batch divides lanes x run, and
    a second time where two lanes meet; more often otherwise, without any change of the order.
    Raises InputError for numbers below one.
    """

    shuffle_window: int = SHUFFLE_WINDOW
    lanes: int = LANES
    run: int = 16

    def __post_init__(self) -> None:
        for name, value in (("shuffle_window", self.shuffle_window), ("lanes", self.lanes), ("run", self.run)):
            if value < 1:
                raise InputError(f"{name}: expected a positive number of samples or lanes, got {value}")


class WindowedOrder:
    """A bijection from positions in an epoch to sample indices, computed by index, that reads few blocks at a time.

    - `sizes` int64 [M]: samples of each block, all positive; sample indices count through the blocks.
    - `seed`, `epoch`: in [0, 2**64).

    The blocks are put in the order of a keyed permutation; w neighbours make a window, whose samples a keyed
    permutation shuffles; this stream is cut into lanes of equal length, of which batches take runs in turn. So memory
    grows with the number of blocks, not of samples, and an epoch can begin at any position.
    """

    def __init__(self, sizes: Int64[np.ndarray, " M"], seed: int, epoch: int, shape: StreamShape) -> None:
        if not len(sizes) or sizes.min() < 1:
            raise InputError("sizes: expected one or more blocks of at least one sample")
        self._seed, self._epoch = seed, epoch
        self._blocks = sample_order(len(sizes), seed, epoch)(np.arange(len(sizes)))
        self._first_index = (np.cumsum(sizes) - sizes)[self._blocks]
        self._starts = np.concatenate([[0], np.cumsum(sizes[self._blocks])])
        self.size = int(self._starts[-1])
        self.lanes = min(shape.lanes, self.size)
        self.run = shape.run
        self.cycle = self.lanes * self.run
        self.blocks_per_window = max(1, round(shape.shuffle_window / (self.lanes * self.size / len(sizes))))
        self._windows = np.append(self._starts[: -1 : self.blocks_per_window], self.size)
        self._lane_starts = np.arange(self.lanes + 1) * self.size // self.lanes
        self._shuffles: OrderedDict[int, KeyedPermutation] = OrderedDict()

    def __len__(self) -> int:
        return self.size

    def __call__(self, positions: Integer[np.ndarray, " P"]) -> Int64[np.ndarray, " P"]:
        """Map positions in [0, size) to sample indices in [0, size). Raises IndexError for others."""
        places, windows = self._places(positions)[0], np.empty(len(positions), dtype=np.int64)
        windows[:] = self._window_of(places)
        for window in np.unique(windows):
            chosen = windows == window
            start = self._windows[window]
            places[chosen] = start + self._shuffle(int(window))(places[chosen] - start)
        found = np.searchsorted(self._starts, places, side="right") - 1
        return self._first_index[found] + places - self._starts[found]

    def blocks(self, positions: Integer[np.ndarray, " P"]) -> list[int]:
        """The blocks that samples at some positions may lie in, and those that their lanes need next, in that order."""
        places, lanes = self._places(positions)
        now = np.unique(self._window_of(places))
        last = self._window_of(self._lane_starts[lanes + 1] - 1)
        following = np.setdiff1d(np.minimum(self._window_of(places) + 1, last), now)
        count = self.blocks_per_window
        return [
            int(block)
            for window in (*now, *following)
            for block in self._blocks[window * count : (window + 1) * count]
        ]  # fmt: skip

    def _places(self, positions: Integer[np.ndarray, " P"]) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
        """Places of positions in the stream of shuffled windows, and their lanes."""
        if positions.size and not (0 <= int(positions.min()) and int(positions.max()) < self.size):
            raise IndexError(
                f"positions: expected values in [0, {self.size}), got {positions.min()} to {positions.max()}"
            )
        positions = positions.astype(np.int64)
        rounds = self.size // self.lanes // self.run
        body = rounds * self.lanes * self.run
        lane = positions // self.run % self.lanes
        offset = positions // (self.lanes * self.run) * self.run + positions % self.run
        # What is left of the lanes after the last whole round is taken lane by lane.
        left = np.cumsum(np.diff(self._lane_starts) - rounds * self.run)
        tail = positions >= body
        rest = positions[tail] - body
        lane[tail] = np.searchsorted(left, rest, side="right")
        offset[tail] = rounds * self.run + rest - np.concatenate([[0], left])[lane[tail]]
        return self._lane_starts[lane] + offset, lane

    def _window_of(self, places: Int64[np.ndarray, " P"]) -> Int64[np.ndarray, " P"]:
        return np.searchsorted(self._windows, places, side="right") - 1

    def _shuffle(self, window: int) -> KeyedPermutation:
        found = self._shuffles.pop(window, None)
        if found is None:
            size = int(self._windows[window + 1] - self._windows[window])
            rng = generator(self._seed, self._epoch, window, Purpose.WINDOW)
            found = KeyedPermutation(size, int(rng.integers(0, 2**64, dtype=np.uint64)))
        self._shuffles[window] = found
        if len(self._shuffles) > 2 * self.lanes:
            self._shuffles.popitem(last=False)
        return found
