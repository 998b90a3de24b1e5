"""The container of .sl3: a header in JSON, then three sections with checksums.

The file begins with "SL3" and the version as a byte, and the size of the header as a little-endian u32. The header says
count, degree, frame, mark of antialiasing, steps, which columns hold differences from the row above in their lane, and
for each section its size and its CRC-32:

1. `model`: the map of harmonics as little-endian i2 [N, N], then of the coder thresholds [C, X - 1] and places of
   frequencies [C, X, S] as bytes, all deflated by zlib;
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
from jaxtyping import Bool, Int64

from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.frames import check_frame
from splatlearn.core.geometry.harmonics import MAX_DEGREE, coefficient_count
from splatlearn.files.errors import check_count, check_ratio
from splatlearn.files.sl3 import coder, tokens
from splatlearn.files.sl3.numbers import (
    FEATURES,
    LARGEST,
    LARGEST_FACTOR,
    SHIFTED,
    Features,
    Steps,
    from_units,
    parts_of,
)
from splatlearn.files.sl3.quantising import Sensitivities, quantised
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import morton_order, to_stored

MAGIC = b"SL3"
VERSION = 2
FRAME = "RDF"
HEAD = struct.Struct("<3sBI")
LARGEST_HEADER = 1 << 20
LONGEST_NAME = 200
SECTIONS = ("model", "tokens", "bits")
MOST_STEPS = {"positions": LARGEST, "scales": 1 << 16, "rotations": 1 << 16, "opacities": 1 << 16}
"""Bounds of the numbers of steps that are whole."""
LARGEST_NUMBER = 1e20
"""Bound of centre, radius and units, which keeps what they multiply finite in float32."""


def sl3_bytes(
    gaussians: Gaussians,
    antialiased: bool = False,
    coarseness: float = 1.0,
    frame: str = FRAME,
    known: Sensitivities | None = None,
) -> bytes:
    """A file of Gaussians [K] with `sh`, which are in `frame`; they are put into the order of a Morton curve.

    - `coarseness`: multiplies all steps.
    - `known`: how much pictures change with the numbers of each Gaussian; steps then follow from it.

    Raises InputError as `to_stored` does.
    """
    stored = to_stored(gaussians)
    order = morton_order(stored.means)
    table = quantised(stored.reordered(order), coarseness, None if known is None else known.reordered(order))
    numbers = np.concatenate([*table.numbers.values()], axis=1)
    lanes = coder.lanes_for(*numbers.shape)
    predicted = [_predicted(each, table.features.shifts(part), lanes) for part, each in table.numbers.items()]
    differences = numbers - np.concatenate(predicted, axis=1)
    chosen = _bits_of(differences) < _bits_of(numbers)
    found, bits = tokens.tokens_of(tokens.folded(np.where(chosen, differences, numbers)))
    model = coder.fitted_model(found, tokens.SIZES, [*parts_of(gaussians.degree).values()])
    content = table.basis.astype("<i2").tobytes() + model.thresholds.tobytes() + model.places.tobytes()
    sections = {"model": zlib.compress(content, 9), "tokens": coder.encode(found, model), "bits": bits}
    header = {
        "count": gaussians.count,
        "degree": gaussians.degree,
        "frame": frame,
        "antialiased": antialiased,
        "writer": "splatlearn",
        "steps": asdict(table.features.steps),
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
    parts = parts_of(degree)
    columns = sum(parts.values())
    check_ratio("sl3", count * columns, len(data))
    said = header.get("differences")
    if not isinstance(said, str) or len(said) != columns or set(said) - {"0", "1"}:
        raise Malformed(f"differences: expected {columns} digits of 0 and 1, got {str(said)[:60]!r}")
    steps = _steps(header.get("steps"))
    model, basis = _model(sections["model"], parts, coefficient_count(degree) - 1)
    found = coder.decode(sections["tokens"], count, model)
    numbers = tokens.unfolded(tokens.numbers_of(found, sections["bits"]))
    units = _units(numbers, np.array(list(said)) == "1", parts, steps)
    gaussians = from_units(units, steps, basis)
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
        way = "a newer splatlearn may read it" if version > VERSION else "it was never released; write the file anew"
        raise Malformed(f"expected .sl3 of version {VERSION}, got version {version}; {way}")
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
    if len(content) != wanted or not unpacker.eof:
        raise Malformed(f"model: expected {wanted} bytes, got {len(content)}")
    basis = np.frombuffer(content, "<i2", rest**2).astype(np.int64).reshape(rest, rest)
    bytes_left = np.frombuffer(content, np.uint8, offset=2 * rest**2)
    model = coder.Model(
        bytes_left[thresholds:].reshape(columns, coder.CONTEXTS, tokens.SYMBOLS),
        bytes_left[:thresholds].reshape(columns, coder.CONTEXTS - 1),
        tokens.SIZES,
        [*parts.values()],
    )
    return model, basis


def _units(
    numbers: Int64[np.ndarray, "K C"], is_difference: Bool[np.ndarray, " C"], parts: dict[str, int], steps: Steps
) -> dict[str, Int64[np.ndarray, "K P"]]:
    """The numbers of each part in units of the file."""
    lanes = coder.lanes_for(*numbers.shape)
    found: dict[str, Int64[np.ndarray, "K P"]] = {}
    shifts, at = np.zeros(len(numbers), np.int64), 0
    features: Features | None = None
    for part, width in parts.items():
        if features is not None:
            shifts = features.shifts(part)
        columns = slice(at, at + width)
        each = _restored(numbers[:, columns], is_difference[columns], shifts, lanes)
        if int(np.abs(each).max(initial=0)) > LARGEST:
            raise Malformed(f"{part}: expected numbers within ±{LARGEST}, got {int(np.abs(each).max())}")
        found[part] = each << shifts[:, None]
        if part == "opacities":
            features = Features(found["worth"][:, 0], found["opacities"][:, 0], steps)
        elif part == "scales" and features is not None:
            features.add_scales(found["scales"])
        at += width
    return found


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
        shifts=_shifts(said["shifts"]),
    )


def _shifts(said: object) -> dict[str, list[int]]:
    """The factors of features."""
    if not isinstance(said, dict) or set(said) != set(SHIFTED):
        raise Malformed(f"shifts: expected {', '.join(SHIFTED)}, got {str(said)[:60]}")
    for name, each in said.items():
        is_whole = isinstance(each, list) and all(type(one) is int and abs(one) <= LARGEST_FACTOR for one in each)
        if not is_whole or len(each) != FEATURES:
            raise Malformed(f"shifts: expected {FEATURES} whole numbers for {name}, got {str(each)[:60]}")
    return said


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


def _predicted(
    numbers: Int64[np.ndarray, "K P"], shifts: Int64[np.ndarray, " K"], lanes: int
) -> Int64[np.ndarray, "K P"]:
    """The number above each one in its lane, in the steps of its own row; 0 in the first row of a lane."""
    found = np.zeros_like(numbers)
    found[1:] = _in_steps(numbers[:-1] << shifts[:-1, None], shifts[1:])
    found[:: -(-len(numbers) // lanes)] = 0
    return found


def _restored(
    numbers: Int64[np.ndarray, "K P"],
    is_difference: Bool[np.ndarray, " P"],
    shifts: Int64[np.ndarray, " K"],
    lanes: int,
) -> Int64[np.ndarray, "K P"]:
    """Numbers of those that are differences from what `_predicted` finds."""
    rows, found = len(numbers), numbers.copy()
    chosen = np.flatnonzero(is_difference)
    length = -(-rows // lanes)
    for step in range(1, length if len(chosen) else 1):
        row = np.arange(step, rows, length)[:, None]
        above = found[row - 1, chosen] << shifts[row - 1]
        found[row, chosen] += _in_steps(above, shifts[row[:, 0]])
    return found


def _in_steps(units: Int64[np.ndarray, "K P"], shifts: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, "K P"]:
    """The nearest numbers of steps of 2 to the power of the shifts."""
    halves = (1 << shifts) >> 1
    return ((units + halves[:, None]) >> shifts[:, None]).clip(-LARGEST, LARGEST)


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
