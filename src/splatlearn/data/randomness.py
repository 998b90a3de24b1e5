"""Counter-based randomness: every random number is a function of what it is for."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

WORD = 2**64


class Purpose(IntEnum):
    """What random numbers are drawn for; streams of different purposes are independent."""

    ORDER = 0
    CROP = 1
    MASK = 2
    NOISE = 3
    SPLIT = 4
    WINDOW = 5


def generator(seed: int, epoch: int, index: int, purpose: Purpose) -> np.random.Generator:
    """Make the random generator of one sample in one epoch for one purpose.

    The numbers depend on the four arguments alone, not on worker or process counts nor on what was drawn before.
    `seed`, `epoch` and `index` are integers in [0, 2**64). Raises ValueError outside of it.

    Source: the Philox generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("index", index)):
        if not 0 <= value < WORD:
            raise ValueError(f"{name}: expected an integer in [0, 2**64), got {value}; choose a smaller one")
    # Philox counts in the lowest word of the counter, so that streams stay apart for 2**64 blocks.
    key = np.array([seed, purpose], dtype=np.uint64)
    counter = np.array([0, index, epoch, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
