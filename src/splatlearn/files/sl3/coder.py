"""Entropy coding of tables of small whole numbers: interleaved range asymmetric numeral systems (rANS).

Duda 2013 (arXiv 1311.2540), with many states side by side (Giesen 2014, arXiv 1402.3392). The rows of a table are cut
into runs, one for each lane; a lane has a state of its own, all lanes advance by one symbol at a time, and words of all
lanes share one stream. All arithmetic is on whole numbers, so that a stream gives the same numbers on any machine.

The frequencies of a symbol depend on its column and on its context: how large the symbols above it are in the same
column and lane, and those to its left in the same group of columns. A `Model` holds them all.

Letters in shapes: R rows, C columns, S symbols, L lanes, X contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from splatlearn.core.errors import Malformed

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

    def __post_init__(self) -> None:
        if int(self.places.max(initial=0)) >= len(LEVELS):
            raise Malformed(f"frequencies: expected places below {len(LEVELS)}, got {int(self.places.max())}")

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


def fitted_model(symbols: UInt8[np.ndarray, "R C"], sizes: UInt8[np.ndarray, " S"], groups: Sequence[int]) -> Model:
    """The model whose frequencies and thresholds suit a table."""
    columns, count = symbols.shape[1], len(sizes)
    around = _around(symbols, sizes, groups)
    shares = np.arange(1, CONTEXTS) / CONTEXTS
    thresholds = np.quantile(around, shares, axis=0, method="higher").T.astype(np.uint8) + np.uint8(1)
    thresholds[thresholds == 0] = MOST_AROUND
    empty = Model(np.zeros((columns, CONTEXTS, count), np.uint8), thresholds, sizes, groups)
    contexts = np.take_along_axis(empty.contexts().T, around, axis=0)
    places = (np.arange(columns) * CONTEXTS + contexts) * count + symbols
    found = np.bincount(places.ravel(), minlength=columns * CONTEXTS * count).reshape(columns, CONTEXTS, count)
    largest = found.max(axis=2, keepdims=True)
    scaled = found * (int(LEVELS[-1]) / np.maximum(largest, 1))
    # The nearest level by ratio; what occurs at all is at the first at least.
    nearest = np.searchsorted(np.sqrt(LEVELS[1:-1] * LEVELS[2:]), scaled) + 1
    return Model(np.where(found > 0, nearest, 0).astype(np.uint8), thresholds, sizes, groups)


def encode(symbols: UInt8[np.ndarray, "R C"], model: Model) -> bytes:
    """The table as a stream: the states of all lanes, then words of 16 bits, all little-endian."""
    rows, columns = symbols.shape
    lanes = lanes_for(rows, columns)
    frequencies = model.frequencies()
    starts = np.cumsum(frequencies, axis=1) - frequencies
    around = _around(symbols, model.sizes, model.groups)
    contexts = np.take_along_axis(model.contexts().T, around, axis=0) + CONTEXTS * np.arange(columns)
    wide, begins = frequencies[contexts, symbols], starts[contexts, symbols]
    length = -(-rows // lanes)
    states = np.full(lanes, LOWEST, np.uint64)
    words: list[np.ndarray] = []
    for step in reversed(range(length)):
        row = np.arange(step, rows, length)
        for column in reversed(range(columns)):
            frequency = wide[row, column]
            state = states[: len(row)]
            full = state >= frequency << np.uint64(2 * WORD_BITS - BITS)
            words.append(state[full][::-1].astype("<u2"))
            state[full] >>= np.uint64(WORD_BITS)
            whole, rest = np.divmod(state, frequency)
            states[: len(row)] = (whole << np.uint64(BITS)) + rest + begins[row, column]
    stream = np.concatenate([np.empty(0, "<u2"), *words])[::-1]
    return states.astype("<u4").tobytes() + stream.tobytes()


def decode(data: bytes, rows: int, model: Model) -> UInt8[np.ndarray, "R C"]:
    """The inverse of `encode`; raises Malformed for a stream that is cut off, too long, or does not end as it began."""
    columns = len(model.places)
    lanes = lanes_for(rows, columns)
    if len(data) < 4 * lanes or len(data) % 2:
        raise Malformed(f"stream: expected {lanes} states and words of 16 bits, got {len(data)} bytes")
    frequencies = model.frequencies()
    starts = np.cumsum(frequencies, axis=1) - frequencies
    symbol_of, context_of = _slots(frequencies), model.contexts().astype(np.int64)
    states = np.frombuffer(data, "<u4", lanes).astype(np.uint64)
    words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.uint64)
    length = -(-rows // lanes)
    symbols = np.zeros((rows, columns), np.uint8)
    above, before = np.zeros((2, columns, lanes), np.int64)
    at = 0
    for step in range(length):
        row = np.arange(step, rows, length)
        used = len(row)
        column = 0
        for group in model.groups:
            left = np.zeros(used, np.int64)
            for place in range(group):
                around = _mixed(above[column, :used], before[column, :used], left, place)
                context = column * CONTEXTS + context_of[column, around]
                state = states[:used]
                slot = state & np.uint64(WHOLE - 1)
                symbol = symbol_of[context, slot.astype(np.int64)]
                frequency = frequencies[context, symbol]
                if not frequency.all():
                    raise Malformed(f"stream: found a symbol in column {column} that the model does not know")
                state = frequency * (state >> np.uint64(BITS)) + slot - starts[context, symbol]
                short = np.flatnonzero(state < LOWEST)
                if at + len(short) > len(words):
                    raise Malformed(f"stream: expected more than {len(words)} words; it is cut off")
                state[short] = (state[short] << np.uint64(WORD_BITS)) | words[at : at + len(short)]
                at += len(short)
                states[:used] = state
                symbols[row, column] = symbol
                size = model.sizes[symbol].astype(np.int64)
                before[column, :used], above[column, :used] = above[column, :used], size
                left += size
                column += 1
    if at != len(words) or not (states == LOWEST).all():
        raise Malformed("stream: it does not end as it began")
    return symbols


def _mixed(
    above: Int64[np.ndarray, ...], before: Int64[np.ndarray, ...], left: Int64[np.ndarray, ...], columns: int
) -> Int64[np.ndarray, ...]:
    """What is around a symbol, in one number: sizes one and two rows above, and the sum of those to the left.

    The nearest count most: the one above as two of those before it, and the mean to the left as four.
    """
    return np.minimum(2 * above + before + 4 * left // max(1, columns), MOST_AROUND)


def _around(
    symbols: UInt8[np.ndarray, "R C"], sizes: UInt8[np.ndarray, " S"], groups: Sequence[int]
) -> Int64[np.ndarray, "R C"]:
    """What is around each symbol of a table, as `decode` finds it step by step."""
    rows, columns = symbols.shape
    each = sizes[symbols].astype(np.int64)
    place = np.arange(rows) % -(-rows // lanes_for(rows, columns))
    above, before = np.zeros((2, rows, columns), np.int64)
    above[1:], before[2:] = each[:-1], each[:-2]
    above[place < 1], before[place < 2] = 0, 0
    found = np.empty((rows, columns), np.int64)
    column = 0
    for group in groups:
        left = np.zeros(rows, np.int64)
        for number in range(group):
            found[:, column] = _mixed(above[:, column], before[:, column], left, number)
            left += each[:, column]
            column += 1
    return found


def _slots(frequencies: UInt64[np.ndarray, "CX S"]) -> UInt8[np.ndarray, "CX W"]:
    """The symbol of each slot of each context; contexts that never occur have symbols of frequency 0."""
    table = np.zeros((len(frequencies), WHOLE), np.uint8)
    for row, each in zip(table, frequencies.astype(np.int64), strict=True):
        if each.any():
            row[:] = np.repeat(np.arange(len(each), dtype=np.uint8), each)
        else:
            row[:] = int((each == 0).argmax())
    return table
