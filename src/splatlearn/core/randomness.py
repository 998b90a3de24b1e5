"""Counter-based randomness: every random number is a function of what it is for."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from splatlearn.core.errors import InputError

WORD = 2**64


class Purpose(IntEnum):
    """What random numbers are drawn for; streams of different purposes are independent."""

    ORDER = 0
    CROP = 1
    MASK = 2
    NOISE = 3
    SPLIT = 4
    WINDOW = 5
    FIT = 6


class Stream:
    """The random numbers of one purpose, from any sample of any epoch on.

    - `seed`: an integer in [0, 2**64). Raises InputError outside of it.
    """

    def __init__(self, seed: int, purpose: Purpose) -> None:
        _check("seed", seed)
        self._bits = np.random.Philox(key=seed)
        self._generator = np.random.Generator(self._bits)
        # Philox counts in the lowest word of the counter, so that streams stay apart for 2**64 blocks.
        self._counter = np.zeros(4, dtype=np.uint64)
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": self._counter, "key": np.array([seed, purpose], dtype=np.uint64)},
            "buffer": np.zeros(4, dtype=np.uint64),
            "buffer_pos": 4,  # nothing is left in the buffer
            "has_uint32": 0,
            "uinteger": 0,
        }

    def at(self, epoch: int, index: int) -> np.random.Generator:
        """What `generator` makes for this purpose, but always the same object: the next call moves it on.

        Ten times as fast as a new one, for which NumPy asks the system for entropy although its key is given. Raises
        ValueError as `generator` does.
        """
        _check("epoch", epoch)
        _check("index", index)
        self._counter[1], self._counter[2] = index, epoch
        self._bits.state = self._state
        return self._generator


def generator(seed: int, epoch: int, index: int, purpose: Purpose) -> np.random.Generator:
    """Make the random generator of one sample in one epoch for one purpose.

    The numbers depend on the four arguments alone, not on worker or process counts nor on what was drawn before.
    `seed`, `epoch` and `index` are integers in [0, 2**64). Raises InputError outside of it.

    Source: the Philox generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    return Stream(seed, purpose).at(epoch, index)


def _check(name: str, value: int) -> None:
    if not 0 <= value < WORD:
        raise InputError(f"{name}: expected an integer in [0, 2**64), got {value}; choose a smaller one")
