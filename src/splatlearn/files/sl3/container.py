"""The container of .sl3: a header in JSON, then three sections with checksums.

The file begins with "SL3" and the version as a byte, and the size of the header as a little-endian u32. The header says
count, degree, frame, mark of antialiasing, steps, which columns hold differences from the row above in their lane, and
for each section its size and its CRC-32:

1. `model`: frequencies of tokens as little-endian u16 [C, X, S], deflated by zlib;
2. `tokens`: the stream of `coder`;
3. `bits`: what tokens leave open, packed.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from jaxtyping import Int64

from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.frames import check_frame
from splatlearn.core.geometry.harmonics import MAX_DEGREE
from splatlearn.files.errors import check_count, check_ratio
from splatlearn.files.sl3 import coder, tokens
from splatlearn.files.sl3.numbers import LARGEST, Steps, columns_of, from_table, steps_for, to_table
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import morton_order, to_stored

MAGIC = b"SL3"
VERSION = 1
FRAME = "RDF"
HEAD = struct.Struct("<3sBI")
LARGEST_HEADER = 1 << 20
LONGEST_NAME = 200
SECTIONS = ("model", "tokens", "bits")
MOST_STEPS = {"positions": LARGEST, "scales": 1 << 16, "rotations": 1 << 16, "opacities": 1 << 16}
"""Bounds of the numbers of steps that are whole."""
LARGEST_NUMBER = 1e20
"""Bound of centre, radius and units, which keeps what they multiply finite in float32."""


def sl3_bytes(gaussians: Gaussians, antialiased: bool = False, coarseness: float = 1.0, frame: str = FRAME) -> bytes:
    """A file of Gaussians [K] with `sh`, which are in `frame`; they are put into the order of a Morton curve.

    `coarseness` multiplies all steps, see `Steps`. Raises InputError as `to_stored` does.
    """
    stored = to_stored(gaussians)
    stored = stored.reordered(morton_order(stored.means))
    steps = steps_for(stored, coarseness)
    table = to_table(stored, steps)
    differences = _differences(table)
    chosen = _bits_of(differences) < _bits_of(table)
    found, bits = tokens.tokens_of(tokens.folded(np.where(chosen, differences, table)))
    model = coder.fitted_model(found, tokens.CLASSES)
    sections = {
        "model": zlib.compress(model.frequencies.astype("<u2").tobytes(), 9),
        "tokens": coder.encode(found, model),
        "bits": bits,
    }
    header = {
        "count": gaussians.count,
        "degree": gaussians.degree,
        "frame": frame,
        "antialiased": antialiased,
        "writer": "splatlearn",
        "steps": asdict(steps),
        "differences": "".join("01"[int(each)] for each in chosen),
        "sections": {name: [len(each), zlib.crc32(each)] for name, each in sections.items()},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return HEAD.pack(MAGIC, VERSION, len(text)) + text + b"".join(sections.values())


def read_sl3(data: bytes, frame: str | None, limit: int) -> SplatFile:
    """Read a file; raises Malformed for other versions, headers that do not fit, and sections that are not whole."""
    header, sections = _opened(data)
    count, degree = _whole(header, "count"), _whole(header, "degree")
    check_count(count, limit)
    if degree > MAX_DEGREE:
        raise Malformed(f"expected harmonics of degree 0 to {MAX_DEGREE}, got {degree}")
    columns = columns_of(degree)
    check_ratio("sl3", count * columns, len(data))
    said = header.get("differences")
    if not isinstance(said, str) or len(said) != columns or set(said) - {"0", "1"}:
        raise Malformed(f"differences: expected {columns} digits of 0 and 1, got {str(said)[:60]!r}")
    model = _model(sections["model"], columns)
    found = coder.decode(sections["tokens"], count, model)
    table = tokens.unfolded(tokens.numbers_of(found, sections["bits"]))
    table = np.where(np.array(list(said)) == "1", _summed(table), table)
    if int(np.abs(table).max()) > LARGEST:
        raise Malformed(f"expected numbers within ±{LARGEST}, got {int(np.abs(table).max())}")
    gaussians = from_table(table, _steps(header.get("steps")))
    if not all(bool(each.isfinite().all()) for each in gaussians.tensors().values()):
        raise Malformed("expected finite numbers, got steps that are too large for them")
    writer = header.get("writer")
    return SplatFile(
        gaussians,
        "sl3",
        frame or _frame(header.get("frame")),
        header.get("antialiased") is True,
        writer[:LONGEST_NAME] or None if isinstance(writer, str) else None,
    )


def is_sl3(data: bytes) -> bool:
    """Whether content begins as the format does."""
    return data.startswith(MAGIC)


def _opened(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The header, and the content of each section."""
    if len(data) < HEAD.size:
        raise Malformed(f"expected a head of {HEAD.size} bytes, got {len(data)}")
    _, version, size = HEAD.unpack_from(data)
    if version != VERSION:
        raise Malformed(f"expected .sl3 of version {VERSION}, got version {version}; a newer splatlearn may read it")
    if size > min(LARGEST_HEADER, len(data) - HEAD.size):
        raise Malformed(f"expected a header of {size} bytes, got {len(data) - HEAD.size}; the file is cut off")
    try:
        header = json.loads(data[HEAD.size : HEAD.size + size])
    except (ValueError, RecursionError) as error:
        raise Malformed(f"header: expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    said = header.get("sections") if isinstance(header, dict) else None
    if not isinstance(said, dict) or set(said) != set(SECTIONS):
        raise Malformed(f"header: expected the sections {', '.join(SECTIONS)}, got {str(said)[:60]}")
    sections, at = {}, HEAD.size + size
    for name in SECTIONS:
        entry = said[name]
        if not isinstance(entry, list) or len(entry) != 2:
            raise Malformed(f"{name}: expected a size and a checksum, got {str(entry)[:60]}")
        length, checksum = (_whole({name: each}, name) for each in entry)
        sections[name] = data[at : at + length]
        at += length
        if zlib.crc32(sections[name]) != checksum or len(sections[name]) != length:
            raise Malformed(f"{name}: expected {length} bytes with the checksum {checksum:08x}; the file is damaged")
    if at != len(data):
        raise Malformed(f"expected {at} bytes, got {len(data)}")
    return header, sections


def _model(data: bytes, columns: int) -> coder.Model:
    """The frequencies of tokens."""
    kinds = int(tokens.CLASSES.max()) + 1
    wanted = 2 * columns * kinds * tokens.SYMBOLS
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, wanted + 1)
    except zlib.error as error:
        raise Malformed(f"model: {error}") from None
    if len(content) != wanted or not unpacker.eof:
        raise Malformed(f"model: expected {wanted} bytes, got {len(content)}")
    frequencies = np.frombuffer(content, "<u2").astype(np.int64)
    return coder.Model(frequencies.reshape(columns, kinds, tokens.SYMBOLS), tokens.CLASSES)


def _steps(said: object) -> Steps:
    """The steps that a header states."""
    if not isinstance(said, dict) or set(said) != {each.name for each in fields(Steps)}:
        raise Malformed(f"steps: expected {', '.join(each.name for each in fields(Steps))}, got {str(said)[:60]}")
    center = said["center"]
    if not isinstance(center, list) or len(center) != 3:
        raise Malformed(f"center: expected three numbers, got {str(center)[:60]}")
    first, second, third = (_real(each, "center") for each in center)
    return Steps(
        center=(first, second, third),
        radius=_real(said["radius"], "radius"),
        positions=_count(said, "positions"),
        scales=_count(said, "scales"),
        rotations=_count(said, "rotations"),
        opacities=_count(said, "opacities"),
        color=_real(said["color"], "color"),
        harmonics=_real(said["harmonics"], "harmonics"),
    )


def _count(said: dict[str, Any], name: str) -> int:
    """A number of steps."""
    value = _whole(said, name)
    if not 1 <= value <= MOST_STEPS[name]:
        raise Malformed(f"{name}: expected 1 to {MOST_STEPS[name]} steps, got {value}")
    return value


def _whole(part: dict[str, Any], name: str) -> int:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Malformed(f"{name}: expected a whole number from 0, got {str(value)[:40]}")
    return value


def _real(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST_NUMBER:
        raise Malformed(f"{name}: expected a number within ±{LARGEST_NUMBER:.0e}, got {str(value)[:40]}")
    return float(value)


def _frame(said: object) -> str:
    try:
        check_frame("frame", said if isinstance(said, str) else "")
    except InputError as error:
        raise Malformed(str(error)[:200]) from None
    return str(said)


def _differences(table: Int64[np.ndarray, "K C"]) -> Int64[np.ndarray, "K C"]:
    """Each number less the one above it in its lane."""
    differences = table.copy()
    differences[1:] -= table[:-1]
    starts = _lane_starts(*table.shape)
    differences[starts] = table[starts]
    return differences


def _summed(differences: Int64[np.ndarray, "K C"]) -> Int64[np.ndarray, "K C"]:
    """The inverse of `_differences`."""
    sums = np.cumsum(differences, axis=0)
    starts = _lane_starts(*differences.shape)
    lengths = np.diff([*starts, len(differences)])
    before = np.where(starts[:, None] > 0, sums[np.maximum(starts - 1, 0)], 0)
    return sums - np.repeat(before, lengths, axis=0)


def _lane_starts(rows: int, columns: int) -> Int64[np.ndarray, " L"]:
    length = -(-rows // coder.lanes_for(rows, columns))
    return np.arange(0, rows, length)


def _bits_of(table: Int64[np.ndarray, "K C"]) -> Int64[np.ndarray, " C"]:
    """About the number of bits of each column: the entropy of its tokens, and the bits beside them."""
    found = tokens.folded(table)
    costs = []
    for column in found.T:
        symbols, rest = tokens.tokens_of(column)
        counts = np.bincount(symbols)
        shares = counts[counts > 0] / len(column)
        costs.append(-len(column) * float((shares * np.log2(shares)).sum()) + 8 * len(rest))
    return np.array(costs).astype(np.int64)
