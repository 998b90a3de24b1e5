"""Reading of .sl3: a header in JSON, then three sections with checksums.

The file begins with "SL3" and the version as a byte, and the size of the header as a little-endian u32. The header says
count, degree, frame, mark of antialiasing, steps, which columns hold differences from the row above in their lane, and
for each section its size and its CRC-32:

1. `model`: the map of harmonics as little-endian i2 [N, N], then of the coder thresholds [C, X - 1] and places of
   frequencies [C, X, S] as bytes, all deflated by zlib;
2. `tokens`: the stream of `coder`;
3. `bits`: what tokens leave open, packed.

All that reads a file is this module with `header`, `coder`, `tokens` and `numbers`.
"""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Bool, Int64

from splatlearn.core.errors import Malformed
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.files.errors import need
from splatlearn.files.sl3 import coder, tokens
from splatlearn.files.sl3.header import MAGIC, opened
from splatlearn.files.sl3.numbers import LARGEST, Features, Steps, from_units, in_steps, parts_of
from splatlearn.files.splat_file import SplatFile

Columns = Int64[np.ndarray, "_ _"]


def is_sl3(data: bytes) -> bool:
    """Whether content begins as the format does."""
    return data.startswith(MAGIC)


def read_sl3(data: bytes, frame: str | None, limit: int) -> SplatFile:
    """Read a file; raises Malformed for other versions, headers that do not fit, and sections that are not whole."""
    header, sections = opened(data, limit)
    parts = parts_of(header.degree)
    model, basis = _model(sections["model"], parts, coefficient_count(header.degree) - 1)
    found = coder.decode(sections["tokens"], header.count, model)
    numbers = tokens.unfolded(tokens.numbers_of(found, sections["bits"]))
    gaussians = from_units(_units(numbers, header.is_difference, parts, header.steps), header.steps, basis)
    is_finite = all(bool(each.isfinite().all()) for each in gaussians.tensors().values())
    need(is_finite, "expected finite numbers, got steps that are too large for them")
    return SplatFile(gaussians, "sl3", frame or header.frame, header.antialiased, header.writer)


def _model(data: bytes, parts: dict[str, int], rest: int) -> tuple[coder.Model, Int64[np.ndarray, "N N"]]:
    """What the coder expects of tokens, and the map of harmonics of `rest` coefficients."""
    columns = sum(parts.values())
    thresholds, places = columns * (coder.CONTEXTS - 1), columns * coder.CONTEXTS * tokens.SYMBOLS
    wanted = 2 * rest**2 + thresholds + places
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, wanted + 1)
    except zlib.error as error:
        raise Malformed(f"model: {error}") from None
    need(len(content) == wanted and unpacker.eof, f"model: expected {wanted} bytes, got {len(content)}")
    basis = np.frombuffer(content, "<i2", rest**2).astype(np.int64).reshape(rest, rest)
    left = np.frombuffer(content, np.uint8, offset=2 * rest**2)
    bounds = left[:thresholds].reshape(columns, coder.CONTEXTS - 1)
    frequencies = left[thresholds:].reshape(columns, coder.CONTEXTS, tokens.SYMBOLS)
    largest = int(frequencies.max(initial=0))
    need(largest < len(coder.LEVELS), f"frequencies: expected places below {len(coder.LEVELS)}, got {largest}")
    return coder.Model(frequencies, bounds, tokens.SIZES, [*parts.values()]), basis


def _units(numbers: Columns, differ: Bool[np.ndarray, " C"], parts: dict[str, int], steps: Steps) -> dict[str, Columns]:
    """The numbers of each part in units of the file."""
    lanes, features = coder.lanes_for(*numbers.shape), Features(len(numbers), steps)
    found: dict[str, Columns] = {}
    at = 0
    for part, width in parts.items():
        columns, shifts = slice(at, at + width), features.shifts(part)
        each = restored(numbers[:, columns], differ[columns], shifts, lanes)
        largest = int(np.abs(each).max(initial=0))
        need(largest <= LARGEST, f"{part}: expected numbers within ±{LARGEST}, got {largest}")
        found[part] = each << shifts[:, None]
        features.add(part, found[part])
        at += width
    return found


def restored(numbers: Columns, differ: Bool[np.ndarray, " P"], shifts: Int64[np.ndarray, " K"], lanes: int) -> Columns:
    """The numbers of a part, of which the columns that `differ` hold differences from the row above in their lane."""
    rows, found = len(numbers), numbers.copy()
    chosen = np.flatnonzero(differ)
    length = -(-rows // lanes)
    for step in range(1, length if len(chosen) else 1):
        row = np.arange(step, rows, length)[:, None]
        above = found[row - 1, chosen] << shifts[row - 1]
        found[row, chosen] += in_steps(above, shifts[row[:, 0]])
    return found
