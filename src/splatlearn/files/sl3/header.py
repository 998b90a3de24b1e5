"""The head of an .sl3 file: what it says of itself, checked before anything is made of it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool

from splatlearn.core.errors import Malformed
from splatlearn.core.geometry.frames import is_frame
from splatlearn.core.geometry.harmonics import MAX_DEGREE
from splatlearn.files.errors import check_count, check_ratio, need
from splatlearn.files.sl3.numbers import FEATURES, LARGEST, LARGEST_FACTOR, SHIFTED, Steps, parts_of

MAGIC = b"SL3"
VERSION = 2
HEAD = struct.Struct("<3sBI")
LARGEST_HEADER = 1 << 20
LONGEST_NAME = 200
SECTIONS = ("model", "tokens", "bits")
MOST_STEPS = {"positions": LARGEST, "scales": 1 << 16, "rotations": 1 << 16, "opacities": 1 << 16}
"""Bounds of the numbers of steps that are whole."""
LARGEST_NUMBER = 1e20
"""Bound of centre, radius and units, which keeps what they multiply finite in float32."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of itself.

    - `count`, `degree`, `frame`, `antialiased`, `writer`: as in `SplatFile`.
    - `steps`: how finely numbers are stored; `is_difference` [C]: columns that hold differences from the row above.
    """

    count: int
    degree: int
    frame: str
    antialiased: bool
    writer: str | None
    steps: Steps
    is_difference: Bool[np.ndarray, " C"]


def opened(data: bytes, limit: int) -> tuple[Header, dict[str, bytes]]:
    """The header of a file of at most `limit` Gaussians, and the content of each section; raises Malformed."""
    need(len(data) >= HEAD.size, f"expected a head of {HEAD.size} bytes, got {len(data)}")
    _, version, size = HEAD.unpack_from(data)
    way = "a newer splatlearn may read it" if version > VERSION else "it was never released; write the file anew"
    need(version == VERSION, f"expected .sl3 of version {VERSION}, got version {version}; {way}")
    left = len(data) - HEAD.size
    need(size <= min(LARGEST_HEADER, left), f"expected a header of {size} bytes, got {left}; the file is cut off")
    try:
        said = json.loads(data[HEAD.size : HEAD.size + size])
    except (ValueError, RecursionError) as error:
        raise Malformed(f"header: expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    entries = _named(
        said.get("sections") if isinstance(said, dict) else None, SECTIONS, "header: expected the sections"
    )
    sections, at = {}, HEAD.size + size
    for name in SECTIONS:
        length, checksum = (
            _whole(each, name) for each in _listed(entries[name], 2, f"{name}: expected size and checksum")
        )
        sections[name] = data[at : at + length]
        at += length
        is_whole = zlib.crc32(sections[name]) == checksum and len(sections[name]) == length
        need(is_whole, f"{name}: expected {length} bytes with the checksum {checksum:08x}; the file is damaged")
    need(at == len(data), f"expected {at} bytes, got {len(data)}")
    return _header(said, limit, len(data)), sections


def _header(said: dict[str, Any], limit: int, size: int) -> Header:
    count, degree = (_whole(said.get(name), name) for name in ("count", "degree"))
    check_count(count, limit)
    need(degree <= MAX_DEGREE, f"expected harmonics of degree 0 to {MAX_DEGREE}, got {degree}")
    columns = sum(parts_of(degree).values())
    check_ratio("sl3", count * columns, size)
    digits, frame, writer = (str(said.get(name)) for name in ("differences", "frame", "writer"))
    is_known = len(digits) == columns and not set(digits) - {"0", "1"}
    need(is_known, f"differences: expected {columns} digits of 0 and 1, got {digits[:60]!r}")
    need(is_frame(frame), f"frame: expected the directions of x, y and z, such as 'RDF', got {frame[:60]!r}")
    named = writer[:LONGEST_NAME] or None if isinstance(said.get("writer"), str) else None
    is_difference, antialiased = np.array(list(digits)) == "1", said.get("antialiased") is True
    return Header(count, degree, frame, antialiased, named, _steps(said.get("steps")), is_difference)


def _steps(said: Any) -> Steps:
    said = _named(said, [each.name for each in fields(Steps)], "steps: expected")
    for name, most in MOST_STEPS.items():
        need(1 <= _whole(said[name], name) <= most, f"{name}: expected 1 to {most} steps, got {str(said[name])[:40]}")
    for name, each in _named(said["shifts"], SHIFTED, "shifts: expected").items():
        wanted = f"shifts: expected {FEATURES} whole numbers for {name}"
        is_whole = all(type(one) is int and abs(one) <= LARGEST_FACTOR for one in _listed(each, FEATURES, wanted))
        need(is_whole, f"{wanted}, got {str(each)[:60]}")
    center = (_real(each, "center") for each in _listed(said["center"], 3, "center: expected three numbers"))
    reals = {name: _real(said[name], name) for name in ("radius", "color", "harmonics")}
    return Steps(**said | reals | {"center": tuple(center)})


def _named(value: Any, names: Sequence[str], wanted: str) -> dict[str, Any]:
    is_known = isinstance(value, dict) and set(value) == set(names)
    need(is_known, f"{wanted} {', '.join(names)}, got {str(value)[:60]}")
    return value


def _listed(value: Any, length: int, wanted: str) -> list[Any]:
    need(isinstance(value, list) and len(value) == length, f"{wanted}, got {str(value)[:60]}")
    return value


def _whole(value: Any, name: str) -> int:
    need(type(value) is int and value >= 0, f"{name}: expected a whole number from 0, got {str(value)[:40]}")
    return value


def _real(value: Any, name: str) -> float:
    is_near = type(value) in (int, float) and abs(value) < LARGEST_NUMBER
    need(is_near, f"{name}: expected a number within ±{LARGEST_NUMBER:.0e}, got {str(value)[:40]}")
    return float(value)
