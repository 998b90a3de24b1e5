"""Whole numbers as tokens for the entropy coder and bits beside it.

Numbers of either sign are folded (0, −1, 1, −2, … become 0, 1, 2, 3, …). Folded numbers below DIRECT are tokens
themselves; of larger ones the token says the position of the highest bit and the bit after it, and the rest are raw.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8

from splatlearn.files.errors import need

DIRECT = 16
DIRECT_BITS = 4
LARGEST = (1 << 24) - 1
"""Folded numbers may not be larger."""
SYMBOLS = DIRECT + 2 * (24 - DIRECT_BITS)
"""The number of different tokens."""
SIZES = np.r_[(np.arange(DIRECT) + 1) // 2, np.minimum(8 + 4 * np.arange(SYMBOLS - DIRECT), 60)].astype(np.uint8)
"""About how large the number of a token is, for what is coded after it; large ones grow by their number of bits."""


def unfolded(numbers: Int64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """Numbers of either sign from folded ones."""
    return np.where(numbers & 1, -(numbers + 1) // 2, numbers // 2)


def numbers_of(tokens: UInt8[np.ndarray, ...], bits: bytes) -> Int64[np.ndarray, ...]:
    """The folded numbers of tokens; raises Malformed for tokens that are none, and for another number of bits."""
    wide = tokens.astype(np.int64)
    largest = int(wide.max(initial=0))
    need(largest < SYMBOLS, f"tokens: expected numbers below {SYMBOLS}, got {largest}")
    over = wide - DIRECT
    exponents = DIRECT_BITS + over // 2
    sizes = np.where(over < 0, 0, exponents - 1)
    total = int(sizes.sum())
    need(len(bits) == -(-total // 8), f"bits: expected {-(-total // 8)} bytes, got {len(bits)}")
    values = np.where(over < 0, wide, (2 + (over & 1)) << np.maximum(exponents - 1, 0))
    flat = values.ravel()
    found = np.unpackbits(np.frombuffer(bits, np.uint8), count=total).astype(np.int64)
    places, offsets = bit_places(sizes.ravel())
    np.add.at(flat, places, found << (sizes.ravel()[places] - 1 - offsets))
    return flat.reshape(tokens.shape)


def bit_places(sizes: Int64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
    """For each bit, the number that it belongs to, and how many bits of that number come before it."""
    places = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    return places, np.arange(len(places)) - starts[places]
