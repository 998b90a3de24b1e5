"""Entropy coding: the inverse of `coder` and `tokens`, and models whose frequencies suit a table.

Letters in shapes: R rows, C columns, S symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Int64, UInt8

from splatlearn.files.sl3.coder import (
    BITS,
    CONTEXTS,
    LEVELS,
    LOWEST,
    MOST_AROUND,
    WORD_BITS,
    Model,
    lanes_for,
    mixed,
)
from splatlearn.files.sl3.tokens import DIRECT, DIRECT_BITS, bit_places

TOLD_EVERY = 64
AT_ONCE = 1 << 20
"""Numbers whose bits are found together; there may be many times as many."""


def folded(numbers: Int64[np.ndarray, ...]) -> Int64[np.ndarray, ...]:
    """Whole numbers from 0 for those of either sign."""
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)


def tokens_of(numbers: Int[np.ndarray, "R ..."]) -> tuple[UInt8[np.ndarray, "R ..."], bytes]:
    """Tokens of folded numbers up to LARGEST, and the packed bits that they leave open, row after row."""
    table = numbers.reshape(len(numbers), -1)
    tokens = np.empty(table.shape, np.uint8)
    packed: list[np.ndarray] = []
    left = np.empty(0, np.uint8)
    step = max(1, AT_ONCE // table.shape[1])
    for first in range(0, len(table), step):
        rows = table[first : first + step]
        found, bits = _tokens_and_bits(rows.astype(np.int64).ravel())
        tokens[first : first + step] = found.reshape(rows.shape)
        bits = np.concatenate([left, bits])
        whole = len(bits) // 8 * 8
        packed.append(np.packbits(bits[:whole]))
        left = bits[whole:]
    content = np.concatenate([*packed, np.packbits(left)]).tobytes()
    return tokens.reshape(numbers.shape), content


def _tokens_and_bits(numbers: Int64[np.ndarray, " n"]) -> tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, " b"]]:
    # The number of raw bits of what is no token itself: its bits without the two highest.
    widths = np.frexp(np.maximum(numbers, 1).astype(np.float64))[1].astype(np.int64) - 2
    exponents = widths + 1
    over = DIRECT + 2 * (exponents - DIRECT_BITS) + ((numbers >> np.maximum(exponents - 1, 0)) & 1)
    sizes = np.where(numbers < DIRECT, 0, widths)
    places, offsets = bit_places(sizes)
    bits = (numbers[places] >> (sizes[places] - 1 - offsets)) & 1
    return np.where(numbers < DIRECT, numbers, over).astype(np.uint8), bits.astype(np.uint8)


def fitted_model(symbols: UInt8[np.ndarray, "R C"], sizes: UInt8[np.ndarray, " S"], groups: Sequence[int]) -> Model:
    """The model whose frequencies and thresholds suit a table."""
    columns, count = symbols.shape[1], len(sizes)
    around = _around(symbols, sizes, groups)
    shares = np.arange(1, CONTEXTS) / CONTEXTS
    thresholds = np.empty((columns, CONTEXTS - 1), np.uint8)
    for column, each in enumerate(around.T):
        thresholds[column] = np.quantile(each, shares, method="higher").astype(np.uint8) + np.uint8(1)
    thresholds[thresholds == 0] = MOST_AROUND
    places = np.zeros((columns, CONTEXTS, count), np.uint8)
    empty = Model(places, thresholds, sizes, groups)
    for column, each in enumerate(empty.contexts()):
        pairs = each[around[:, column]].astype(np.int64) * count + symbols[:, column]
        found = np.bincount(pairs, minlength=CONTEXTS * count).reshape(CONTEXTS, count)
        scaled = found * (int(LEVELS[-1]) / np.maximum(found.max(axis=1, keepdims=True), 1))
        # The nearest level by ratio; what occurs at all is at the first at least.
        nearest = np.searchsorted(np.sqrt(LEVELS[1:-1] * LEVELS[2:]), scaled) + 1
        places[column] = np.where(found > 0, nearest, 0)
    return Model(places, thresholds, sizes, groups)


def encode(symbols: UInt8[np.ndarray, "R C"], model: Model, told: Callable[[int], None] = lambda done: None) -> bytes:
    """The table as a stream: the states of all lanes, then words of 16 bits, all little-endian.

    `told` is called now and then with the number of rows of each lane that are coded.
    """
    rows, columns = symbols.shape
    lanes = lanes_for(rows, columns)
    frequencies = model.frequencies()
    starts = np.cumsum(frequencies, axis=1) - frequencies
    around = _around(symbols, model.sizes, model.groups)
    context_of = model.contexts() + CONTEXTS * np.arange(columns)[:, None]
    length = -(-rows // lanes)
    states = np.full(lanes, LOWEST, np.uint64)
    words: list[np.ndarray] = []
    for step in reversed(range(length)):
        row = slice(step, rows, length)
        for column in reversed(range(columns)):
            symbol, context = symbols[row, column], context_of[column, around[row, column]]
            frequency = frequencies[context, symbol]
            state = states[: len(symbol)]
            full = state >= frequency << np.uint64(2 * WORD_BITS - BITS)
            words.append(state[full][::-1].astype("<u2"))
            state[full] >>= np.uint64(WORD_BITS)
            whole, rest = np.divmod(state, frequency)
            states[: len(symbol)] = (whole << np.uint64(BITS)) + rest + starts[context, symbol]
        if step % TOLD_EVERY == 0:
            told(length - step)
    stream = np.concatenate([np.empty(0, "<u2"), *words])[::-1]
    return states.astype("<u4").tobytes() + stream.tobytes()


def _around(
    symbols: UInt8[np.ndarray, "R C"], sizes: UInt8[np.ndarray, " S"], groups: Sequence[int]
) -> UInt8[np.ndarray, "R C"]:
    """What is around each symbol of a table, as `decode` finds it step by step."""
    rows, columns = symbols.shape
    place = np.arange(rows) % -(-rows // lanes_for(rows, columns))
    first, second = place < 1, place < 2
    found = np.empty((rows, columns), np.uint8)
    column = 0
    for group in groups:
        left = np.zeros(rows, np.int64)
        for number in range(group):
            each = sizes[symbols[:, column]].astype(np.int64)
            above, before = np.zeros((2, rows), np.int64)
            above[1:], before[2:] = each[:-1], each[:-2]
            above[first], before[second] = 0, 0
            found[:, column] = mixed(above, before, left, number)
            left += each
            column += 1
    return found
