"""Entropy coding of tables of small whole numbers: interleaved range asymmetric numeral systems (rANS).

Duda 2013 (arXiv 1311.2540), with many states side by side (Giesen 2014, arXiv 1402.3392). The rows of a table are cut
into runs, one for each lane; a lane has a state of its own, all lanes advance by one symbol at a time, and words of all
lanes share one stream. All arithmetic is on unsigned integers, so that a stream gives the same numbers on any machine.

The frequencies of a symbol depend on its column and on a class of the symbol above it in the same column and lane: a
`Model` holds them all. Letters in shapes: R rows, C columns, S symbols, L lanes, X classes.
"""

from __future__ import annotations

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
SYMBOLS_OF_A_LANE = 2048
"""A lane costs its state of four bytes: shorter runs are not worth it."""


def lanes_for(rows: int, columns: int) -> int:
    """The number of lanes for a table."""
    return max(1, min(MOST_LANES, rows, rows * columns // SYMBOLS_OF_A_LANE))


@dataclass(frozen=True, eq=False)
class Model:
    """Frequencies of symbols: [C, X, S], each context adding up to WHOLE, or to 0 where it never occurs.

    `classes` [S]: the class that a symbol is for the one below it.
    """

    frequencies: Int64[np.ndarray, "C X S"]
    classes: UInt8[np.ndarray, " S"]

    def __post_init__(self) -> None:
        sums = self.frequencies.sum(axis=2)
        if (self.frequencies < 0).any() or not np.isin(sums, (0, WHOLE)).all():
            raise Malformed(f"frequencies: expected sums of {WHOLE} or 0, got {sorted(set(sums.ravel().tolist()))[:5]}")


def fitted_model(symbols: UInt8[np.ndarray, "R C"], classes: UInt8[np.ndarray, " S"]) -> Model:
    """The model whose frequencies are those of a table."""
    rows, columns = symbols.shape
    count, kinds = len(classes), int(classes.max()) + 1
    contexts = _contexts(symbols, classes)
    places = (np.arange(columns) * kinds + contexts) * count + symbols
    found = np.bincount(places.ravel(), minlength=columns * kinds * count).reshape(columns, kinds, count)
    return Model(_normalised(found), classes)


def encode(symbols: UInt8[np.ndarray, "R C"], model: Model) -> bytes:
    """The table as a stream: the states of all lanes, then words of 16 bits, all little-endian."""
    rows, columns = symbols.shape
    lanes = lanes_for(rows, columns)
    frequencies, starts = _by_context(model)
    contexts = _contexts(symbols, model.classes)
    length = -(-rows // lanes)
    states = np.full(lanes, LOWEST, np.uint64)
    words: list[np.ndarray] = []
    for step in reversed(range(length)):
        row = np.arange(lanes) * length + step
        used = np.flatnonzero(row < rows)
        row = row[used]
        for column in reversed(range(columns)):
            symbol, context = symbols[row, column], column * model.frequencies.shape[1] + contexts[row, column]
            frequency = frequencies[context, symbol]
            state = states[used]
            full = state >= frequency << np.uint64(2 * WORD_BITS - BITS)
            words.append(state[full][::-1].astype("<u2"))
            state[full] >>= np.uint64(WORD_BITS)
            states[used] = (state // frequency << np.uint64(BITS)) + state % frequency + starts[context, symbol]
    stream = np.concatenate([np.empty(0, "<u2"), *words])[::-1]
    return states.astype("<u4").tobytes() + stream.tobytes()


def decode(data: bytes, rows: int, model: Model) -> UInt8[np.ndarray, "R C"]:
    """The inverse of `encode`; raises Malformed for a stream that is cut off, too long, or does not end as it began."""
    columns, kinds, _ = model.frequencies.shape
    lanes = lanes_for(rows, columns)
    if len(data) < 4 * lanes or len(data) % 2:
        raise Malformed(f"stream: expected {lanes} states and words of 16 bits, got {len(data)} bytes")
    frequencies, starts = _by_context(model)
    symbol_of = _slots(model)
    states = np.frombuffer(data, "<u4", lanes).astype(np.uint64)
    words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.uint64)
    length = -(-rows // lanes)
    symbols = np.zeros((lanes * length, columns), np.uint8)
    above = np.zeros((lanes, columns), np.int64)
    at = 0
    for step in range(length):
        row = np.arange(lanes) * length + step
        used = np.flatnonzero(row < rows)
        row = row[used]
        for column in range(columns):
            context = column * kinds + above[used, column]
            state = states[used]
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
            states[used] = state
            symbols[row, column] = symbol
            above[used, column] = model.classes[symbol]
    if at != len(words) or not (states == LOWEST).all():
        raise Malformed("stream: it does not end as it began")
    return symbols[:rows]


def _contexts(symbols: UInt8[np.ndarray, "R C"], classes: UInt8[np.ndarray, " S"]) -> Int64[np.ndarray, "R C"]:
    """The class of the symbol above each one in its lane; 0 in the first row of a lane."""
    rows, columns = symbols.shape
    above = np.zeros(symbols.shape, np.int64)
    above[1:] = classes[symbols[:-1]]
    above[:: -(-rows // lanes_for(rows, columns))] = 0
    return above


def _by_context(model: Model) -> tuple[UInt64[np.ndarray, "X2 S"], UInt64[np.ndarray, "X2 S"]]:
    """Frequencies and the slots at which symbols start, contexts of all columns in one axis."""
    frequencies = model.frequencies.reshape(-1, model.frequencies.shape[2]).astype(np.uint64)
    return frequencies, np.cumsum(frequencies, axis=1) - frequencies


def _slots(model: Model) -> UInt8[np.ndarray, "X2 W"]:
    """The symbol of each slot of each context; contexts that never occur have symbols of frequency 0."""
    frequencies = model.frequencies.reshape(-1, model.frequencies.shape[2])
    table = np.zeros((len(frequencies), WHOLE), np.uint8)
    for row, each in zip(table, frequencies, strict=True):
        filled = np.repeat(np.arange(len(each), dtype=np.uint8), each)
        if len(filled):
            row[:] = filled
        else:
            row[:] = int((each == 0).argmax())
    return table


def _normalised(counts: Int64[np.ndarray, "C X S"]) -> Int64[np.ndarray, "C X S"]:
    """Frequencies that add up to WHOLE, in proportion to counts; every symbol that occurs has at least 1."""
    sums = counts.sum(axis=2, keepdims=True)
    scaled = counts * (WHOLE / np.maximum(sums, 1))
    found = np.where(counts > 0, np.maximum(1, np.floor(scaled)), 0).astype(np.int64)
    # What is missing or too much goes where it matters least: to and from the most frequent.
    for place in zip(*np.nonzero(sums[:, :, 0]), strict=True):
        row = found[place]
        while (missing := WHOLE - int(row.sum())) != 0:
            largest = int(row.argmax())
            row[largest] += max(missing, 1 - int(row[largest])) if missing < 0 else missing
    return found
