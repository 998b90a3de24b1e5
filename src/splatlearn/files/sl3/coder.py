"""Entropy decoding of tables of small whole numbers: interleaved range asymmetric numeral systems (rANS).

Duda 2013 (arXiv 1311.2540), with many states side by side (Giesen 2014, arXiv 1402.3392). The rows of a table are cut
into runs, one for each lane; a lane has a state of its own, all lanes advance by one symbol at a time, and words of all
lanes share one stream. All arithmetic is on whole numbers, so that a stream gives the same numbers on any machine.

The frequencies of a symbol depend on its column and on its context: how large the symbols above it are in the same
column and lane, and those to its left in the same group of columns. A `Model` holds them all; `encoder` fits one.

Letters in shapes: R rows, C columns, S symbols, L lanes, X contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from splatlearn.files.errors import need

Whole = Int64[np.ndarray, "..."]
BITS = 14
"""Frequencies of a context add up to 2 to this power."""
WHOLE = 1 << BITS
WORD_BITS = 16
LOWEST = 1 << WORD_BITS
"""States stay in [LOWEST, LOWEST << WORD_BITS)."""
MOST_LANES = 1024
SYMBOLS_OF_A_LANE = 4096
"""A lane costs its state of four bytes: shorter runs are not worth it."""
CONTEXTS = 8
"""Contexts of a column, told apart by CONTEXTS - 1 rising thresholds of what is around a symbol."""
MOST_AROUND = 255
LEVELS = np.array([*range(16), *(size << shift for shift in range(1, 11) for size in range(8, 16))], np.int64)
"""Relative frequencies that a model can hold, eight for each power of two."""


def lanes_for(rows: int, columns: int) -> int:
    """The number of lanes for a table."""
    return max(1, min(MOST_LANES, rows, rows * columns // SYMBOLS_OF_A_LANE))


@dataclass(frozen=True, eq=False)
class Model:
    """What is expected of symbols.

    - `places` [C, X, S]: of relative frequencies in LEVELS; all 0 for a context that never occurs.
    - `thresholds` [C, X - 1]: a context is the number of thresholds that what is around a symbol reaches.
    - `sizes` [S]: how large a symbol is, for those below it and to its right.
    - `groups`: numbers of columns that belong together, C in all.
    """

    places: UInt8[np.ndarray, "C X S"]
    thresholds: UInt8[np.ndarray, "C X1"]
    sizes: UInt8[np.ndarray, " S"]
    groups: Sequence[int]

    def frequencies(self) -> UInt64[np.ndarray, "CX S"]:
        """Frequencies that add up to WHOLE in each context, or to 0 where it never occurs."""
        shares = LEVELS[self.places.reshape(-1, self.places.shape[2])]
        sums = shares.sum(axis=1, keepdims=True)
        found = np.where(shares > 0, np.maximum(1, shares * WHOLE // np.maximum(sums, 1)), 0)
        # Each symbol has at least 1 of 16384, and what is missing or too much is the most frequent's, which has more.
        rows = np.flatnonzero(sums[:, 0])
        found[rows, found[rows].argmax(axis=1)] += WHOLE - found[rows].sum(axis=1)
        return found.astype(np.uint64)

    def contexts(self) -> UInt8[np.ndarray, "C A"]:
        """The context of a column for everything that may be around, from 0 to MOST_AROUND."""
        around = np.arange(MOST_AROUND + 1)
        return (around[None, :, None] >= self.thresholds[:, None, :].astype(np.int64)).sum(axis=2).astype(np.uint8)


def decode(data: bytes, rows: int, model: Model) -> UInt8[np.ndarray, "R C"]:
    """The table of a stream; raises Malformed for one that is cut off, too long, or does not end as it began."""
    columns = len(model.places)
    lanes = lanes_for(rows, columns)
    is_whole = len(data) >= 4 * lanes and len(data) % 2 == 0
    need(is_whole, f"stream: expected {lanes} states and words of 16 bits, got {len(data)} bytes")
    frequencies = model.frequencies()
    starts = np.cumsum(frequencies, axis=1) - frequencies
    symbol_of, context_of = _slots(frequencies), model.contexts().astype(np.int64)
    states = np.frombuffer(data, "<u4", lanes).astype(np.uint64)
    words = np.frombuffer(data, "<u2", offset=4 * lanes)
    length = -(-rows // lanes)
    symbols = np.zeros((rows, columns), np.uint8)
    above, before = np.zeros((2, columns, lanes), np.int64)
    left, at = np.zeros(lanes, np.int64), 0
    places = [place for group in model.groups for place in range(group)]
    for step in range(length):
        row = slice(step, rows, length)
        used = len(range(rows)[row])
        for column, place in enumerate(places):
            left = left[:used] if place else np.zeros(used, np.int64)
            around = mixed(above[column, :used], before[column, :used], left, place)
            context = column * CONTEXTS + context_of[column, around]
            slot = states[:used] & np.uint64(WHOLE - 1)
            symbol = symbol_of[context, slot.astype(np.int64)]
            frequency = frequencies[context, symbol]
            need(bool(frequency.all()), f"stream: found a symbol in column {column} that the model does not know")
            state = frequency * (states[:used] >> np.uint64(BITS)) + slot - starts[context, symbol]
            short = np.flatnonzero(state < LOWEST)
            need(at + len(short) <= len(words), f"stream: expected more than {len(words)} words; it is cut off")
            state[short] = (state[short] << np.uint64(WORD_BITS)) | words[at : at + len(short)]
            at += len(short)
            states[:used], symbols[row, column] = state, symbol
            size = model.sizes[symbol].astype(np.int64)
            before[column, :used], above[column, :used] = above[column, :used], size
            left = left + size
    need(at == len(words) and bool((states == LOWEST).all()), "stream: it does not end as it began")
    return symbols


def mixed(above: Whole, before: Whole, left: Whole, columns: int) -> Whole:
    """What is around a symbol, in one number: sizes one and two rows above, and the sum of those to the left.

    The nearest count most: the one above as two of those before it, and the mean to the left as four.
    """
    return np.minimum(2 * above + before + 4 * left // max(1, columns), MOST_AROUND)


def _slots(frequencies: UInt64[np.ndarray, "CX S"]) -> UInt8[np.ndarray, "CX W"]:
    """The symbol of each slot of each context; contexts that never occur have symbols of frequency 0."""
    symbols, never = np.arange(frequencies.shape[1], dtype=np.uint8), np.zeros(WHOLE, np.uint8)
    return np.stack([np.repeat(symbols, each) if each.any() else never for each in frequencies.astype(np.int64)])
