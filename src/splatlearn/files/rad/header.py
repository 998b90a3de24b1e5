"""The descriptions in a .rad file: one of the file and one of each chunk, in JSON behind a magic number and a length.

The format has no specification but the code of Spark 2 (MIT), version 1 of which is read here.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

from splatlearn.core.errors import Malformed
from splatlearn.files.errors import check_count, need

FILE_MAGIC, CHUNK_MAGIC = b"RAD0", b"RADC"
HEAD = struct.Struct("<4sI")
VERSION = 1
HIGHEST_DEGREE = 3
LONGEST_NAME = 200


@dataclass(frozen=True)
class Column:
    """One property of the Gaussians of a chunk.

    - `name`: such as "center" or "rgb"; `encoding`: of its numbers, such as "f16" or "r8_delta".
    - `offset`, `size`: its place in the payload of the chunk, bytes; `packed`: whether it is a deflate stream.
    - `low`, `high`: what the bounds of whole numbers stand for, None where the encoding has none.
    """

    name: str
    encoding: str
    offset: int
    size: int
    packed: bool
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Chunk:
    """Consecutive Gaussians, whose columns lie in `payload`.

    `base`: the index of the first; `count`: of Gaussians; `degree`: the largest of its harmonics.
    """

    base: int
    count: int
    degree: int
    columns: dict[str, Column]
    payload: memoryview


@dataclass(frozen=True)
class Place:
    """Where a chunk lies: bytes of the file behind its description, or of the file `name` beside it."""

    offset: int
    size: int
    name: str | None


@dataclass(frozen=True)
class Header:
    """The description of a file.

    - `count`: of all Gaussians, of inner nodes of a tree of detail too.
    - `codes`: the length of the codebook of harmonics, None without one.
    - `places`: of chunks; `start`: the byte behind the description, which offsets count from.
    """

    count: int
    codes: int | None
    places: tuple[Place, ...]
    start: int


def parse_header(data: bytes, limit: int) -> Header:
    """Parse the description of a file; raises Malformed naming what is missing or of another kind."""
    said, start = _described(memoryview(data), FILE_MAGIC, "the description")
    need(said.get("type") == "gsplat", f"expected the type 'gsplat', got {str(said.get('type'))[:40]!r}")
    count = whole(said, "count")
    check_count(count, limit)
    listed = said.get("chunks")
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise Malformed("chunks: expected a list of objects")
    codes = whole(said, "shCodeCount") if said.get("shCodeCount") is not None else None
    return Header(count, codes, tuple(map(_place, listed)), start)


def parse_chunk(data: memoryview, number: int) -> Chunk:
    """Parse a chunk that begins with its magic number; raises Malformed as `parse_header`."""
    what = f"chunk {number}"
    said, start = _described(data, CHUNK_MAGIC, what)
    need(start + 8 <= len(data), f"{what}: expected the length of its payload, got the end of the file")
    (size,) = struct.unpack_from("<Q", data, start)
    payload = data[start + 8 :]
    need(size <= len(payload), f"{what}: expected a payload of {size} bytes, got {len(payload)}")
    count = whole(said, "count")
    need(count > 0, f"{what}: expected at least one Gaussian, got none")
    degree = whole(said, "maxSh") if said.get("maxSh") is not None else 0
    need(degree <= HIGHEST_DEGREE, f"{what}: expected harmonics of degree 0 to {HIGHEST_DEGREE}, got {degree}")
    listed = said.get("properties")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise Malformed(f"{what}: properties: expected a list of objects")
    columns = [_column(each) for each in listed]
    for each in columns:
        need(each.offset + each.size <= size, f"{what}: {each.name}: expected bytes within {size} of the payload")
    return Chunk(whole(said, "base"), count, degree, {each.name: each for each in columns}, payload[:size])


def whole(said: dict[str, Any], name: str) -> int:
    """A whole number that is not negative and fits 64 bits."""
    value = said.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise Malformed(f"{name}: expected a whole number, got {str(value)[:40]}")
    return value


def _described(data: memoryview, magic: bytes, what: str) -> tuple[dict[str, Any], int]:
    """The JSON object behind a magic number and the byte behind it, a multiple of 8 from the beginning."""
    need(len(data) >= HEAD.size, f"{what}: expected {HEAD.size} bytes, got {len(data)}")
    found, length = HEAD.unpack_from(data)
    need(found == magic, f"{what}: expected {magic!r}, got {found!r}")
    need(HEAD.size + length <= len(data), f"{what}: expected {length} bytes of JSON, got {len(data) - HEAD.size}")
    try:
        said = json.loads(bytes(data[HEAD.size : HEAD.size + length]))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what}: expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    need(isinstance(said, dict), f"{what}: expected an object, got {type(said).__name__}")
    need(said.get("version") == VERSION, f"{what}: expected version {VERSION}, got {str(said.get('version'))[:40]}")
    return said, HEAD.size + -(-length // 8) * 8


def _place(said: dict[str, Any]) -> Place:
    name = said.get("filename")
    if name is not None and not (
        isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and not set(name) & set("/\\:\0") and name[0] != "."
    ):
        raise Malformed(f"filename: expected the name of a file in the same folder, got {str(name)[:40]!r}")
    return Place(whole(said, "offset"), whole(said, "bytes"), name)


def _column(said: dict[str, Any]) -> Column:
    compression = said.get("compression")
    if compression not in (None, "gz"):
        raise Malformed(f"compression: expected gz or none, got {str(compression)[:40]!r}")
    name, encoding = (_word(said, each) for each in ("property", "encoding"))
    return Column(
        name, encoding, whole(said, "offset"), whole(said, "bytes"), compression is not None,
        _number(said, "min"), _number(said, "max"),
    )  # fmt: skip


def _word(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name}: expected a word, got {str(value)[:40]}")
    return value[:40]


def _number(said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Malformed(f"{name}: expected a finite number, got {str(value)[:40]}")
    return float(value)
