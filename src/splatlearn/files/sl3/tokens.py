"""Whole numbers as tokens for the entropy coder and bits beside it.

Numbers of either sign are folded (0, −1, 1, −2, … become 0, 1, 2, 3, …). Folded numbers below DIRECT are tokens
themselves; of larger ones the token says the position of the highest bit and the bit after it, and the rest are raw.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8

from splatlearn.core.errors import Malformed

DIRECT = 16
DIRECT_BITS = 4
LARGEST = (1 << 24) - 1
"""Folded numbers may not be larger."""
SYMBOLS = DIRECT + 2 * (24 - DIRECT_BITS)
"""The number of different tokens."""
SIZES = np.array(
    [*((token + 1) // 2 for token in range(DIRECT)), *(min(8 + 4 * over, 60) for over in range(SYMBOLS - DIRECT))],
    np.uint8,
)
"""About how large the number of a token is, for what is coded after it; large ones grow by their number of bits."""


def folded(numbers: Int64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """Whole numbers from 0 for those of either sign."""
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)


def unfolded(numbers: Int64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """The inverse."""
    return np.where(numbers & 1, -(numbers + 1) // 2, numbers // 2)


def tokens_of(numbers: Int64[np.ndarray, ...]) -> tuple[UInt8[np.ndarray, ...], bytes]:
    """Tokens of folded numbers up to LARGEST, and the packed bits that they leave open, in the order of the numbers."""
    widths = _widths(numbers)
    exponents = widths + 1
    tokens = np.where(
        numbers < DIRECT,
        numbers,
        DIRECT + 2 * (exponents - DIRECT_BITS) + ((numbers >> np.maximum(exponents - 1, 0)) & 1),
    )
    flat, sizes = numbers.ravel(), np.where(numbers < DIRECT, 0, widths).ravel()
    places, offsets = _bit_places(sizes)
    bits = (flat[places] >> (sizes[places] - 1 - offsets)) & 1
    return tokens.astype(np.uint8), np.packbits(bits.astype(np.uint8)).tobytes()


def numbers_of(tokens: UInt8[np.ndarray, ...], bits: bytes) -> Int64[np.ndarray, ...]:
    """The inverse of `tokens_of`; raises Malformed for tokens that are none, and for another number of bits."""
    wide = tokens.astype(np.int64)
    if int(wide.max(initial=0)) >= SYMBOLS:
        raise Malformed(f"tokens: expected numbers below {SYMBOLS}, got {int(wide.max())}")
    over = wide - DIRECT
    exponents = DIRECT_BITS + over // 2
    sizes = np.where(over < 0, 0, exponents - 1)
    total = int(sizes.sum())
    if len(bits) != -(-total // 8):
        raise Malformed(f"bits: expected {-(-total // 8)} bytes, got {len(bits)}")
    values = np.where(over < 0, wide, (2 + (over & 1)) << np.maximum(exponents - 1, 0))
    flat = values.ravel()
    found = np.unpackbits(np.frombuffer(bits, np.uint8), count=total).astype(np.int64)
    places, offsets = _bit_places(sizes.ravel())
    np.add.at(flat, places, found << (sizes.ravel()[places] - 1 - offsets))
    return flat.reshape(tokens.shape)


def _widths(numbers: Int64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """The number of raw bits of each folded number that is no token itself: its bits without the two highest."""
    return np.frexp(np.maximum(numbers, 1).astype(np.float64))[1].astype(np.int64) - 2


def _bit_places(sizes: Int64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
    """For each bit, the number that it belongs to, and how many bits of that number come before it."""
    places = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    return places, np.arange(len(places)) - starts[places]
