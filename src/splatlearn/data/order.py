"""The order of samples in an epoch: keyed permutations computed by index, in constant memory."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt64

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.core.randomness import Purpose, generator

ROUNDS = 8
SMALLEST_HALF = 2  # bits; below it a Feistel network has too few round functions to mix well


class KeyedPermutation:
    """A pseudo-random bijection on range(size), chosen by a key and computed by index.

    A balanced Feistel network permutes the next even power of two, and positions that leave the range walk on along
    their cycle until they are back in it (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    `size` in [1, 2**62], `key` in [0, 2**64). Raises InputError for other values.
    """

    def __init__(self, size: int, key: int) -> None:
        check_whole("size", size)
        if not 1 <= size <= 2**62:
            raise InputError(f"size: expected an integer in [1, 2**62], got {size}; there must be samples to order")
        if not 0 <= key < 2**64:
            raise InputError(f"key: expected an integer in [0, 2**64), got {key}")
        self.size = size
        half = max(SMALLEST_HALF, -(-(size - 1).bit_length() // 2))
        self._half = np.uint64(half)
        self._low = np.uint64(2**half - 1)
        self._round_keys = generator(key, 0, 0, Purpose.ORDER).integers(0, 2**64, size=ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self.size

    def __call__(self, positions: Integer[np.ndarray, " P"]) -> Integer[np.ndarray, " P"]:
        """Map positions in [0, size) to indices in [0, size).

        Returns int64 [P]. Raises IndexError for positions outside the range.
        """
        if positions.size and not (0 <= int(positions.min()) and int(positions.max()) < self.size):
            raise IndexError(
                f"positions: expected values in [0, {self.size}), got {positions.min()} to {positions.max()}"
            )
        values = self._network(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= np.uint64(self.size))
        while outside.size:
            values[outside] = self._network(values[outside])
            outside = outside[values[outside] >= np.uint64(self.size)]
        return values.astype(np.int64)

    def _network(self, values: UInt64[np.ndarray, " P"]) -> UInt64[np.ndarray, " P"]:
        left, right = values >> self._half, values & self._low
        for key in self._round_keys:
            left, right = right, left ^ (_hash(right ^ key) & self._low)
        return (left << self._half) | right


def _hash(values: UInt64[np.ndarray, " P"]) -> UInt64[np.ndarray, " P"]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def sample_order(size: int, seed: int, epoch: int) -> KeyedPermutation:
    """The order in which an epoch visits `size` samples: position in the epoch to sample index.

    A function of its arguments alone. Raises InputError for sizes below 1 and seeds or epochs outside [0, 2**64).
    """
    key = generator(seed, epoch, 0, Purpose.ORDER).integers(0, 2**64, dtype=np.uint64)
    return KeyedPermutation(size, int(key))
