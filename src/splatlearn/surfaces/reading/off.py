"""OFF, the Object File Format of Geomview, in words: that of ModelNet."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import UInt8

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.polygons import color_bytes, mesh_of

HEADER = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF\b|\s*OFF(?=\d)")
COMMENT = re.compile(rb"#[^\n]*")


def parse_off(data: bytes) -> Mesh:
    """Parse a file: vertices, with colours in a COFF, and polygons, which may have colours.

    Some files of ModelNet have the first count on the line of the header, without a space; these are read too. Raises
    Malformed for binary files, other kinds of vertices, and what does not parse.
    """
    header = HEADER.match(data)
    if header is None:
        raise Malformed("expected a file that begins with OFF, found something else")
    if any(header.group(number) for number in (1, 3, 4, 5)):
        raise Malformed(f"expected OFF or COFF, got {header.group().decode().strip()}; write it as plain OFF")
    text = COMMENT.sub(b"", data[header.end() :])
    if text.split(maxsplit=1)[:1] == [b"BINARY"]:
        raise Malformed("expected a file in words, got a binary one; write it as plain OFF")
    lines = [line for line in text.splitlines() if line.strip()]
    counts = _numbers(lines[:1], "counts", 2)[0].astype(np.int64)
    count, polygons = int(counts[0]), int(counts[1])
    if min(count, polygons) < 0 or len(lines) < 1 + count + polygons:
        raise Malformed(f"expected {count} vertices and {polygons} faces, got {len(lines) - 1} lines; it is cut off")
    vertices = _numbers(lines[1 : 1 + count], "vertices", 3)
    colored = None
    if header.group(2) and vertices.shape[1] >= 6:
        colored = color_bytes(vertices[:, 3:6], whole=bool((vertices[:, 3:6] > 1).any()))
    rows = [line.split() for line in lines[1 + count : 1 + count + polygons]]
    try:
        lengths = np.array([int(row[0]) for row in rows], dtype=np.int64)
        corners = np.array([word for row, n in zip(rows, lengths, strict=True) for word in row[1 : 1 + n]], np.int64)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"faces: expected whole numbers, got others ({error})") from None
    if (lengths < 0).any() or len(corners) != lengths.sum():
        raise Malformed("faces: expected as many vertices in each line as its first number says, got fewer")
    return mesh_of(vertices[:, :3], lengths, corners, colored, _face_colors(rows, lengths))


def _numbers(lines: list[bytes], what: str, least: int) -> np.ndarray:
    """Lines of equally many numbers, at least `least`."""
    try:
        numbers = np.array([line.split() for line in lines], dtype=np.float64)
    except ValueError as error:
        raise Malformed(f"{what}: expected lines of equally many numbers, got others ({error})") from None
    if not len(lines):
        return np.zeros((0, least))
    if numbers.shape[1] < least:
        raise Malformed(f"{what}: expected at least {least} numbers in a line, got {numbers.shape[1]}")
    return numbers


def _face_colors(rows: list[list[bytes]], lengths: np.ndarray) -> UInt8[np.ndarray, "P 3"] | None:
    """The colours of faces where all have three or four numbers for it: bytes, or numbers in [0, 1]."""
    rests = [row[1 + length :] for row, length in zip(rows, lengths.tolist(), strict=True)]
    if not rests or any(len(rest) not in (3, 4) for rest in rests):
        return None
    words = [word for rest in rests for word in rest[:3]]
    try:
        values = np.array(words, dtype=np.float64).reshape(-1, 3)
    except ValueError:
        return None
    return color_bytes(values, whole=not any(b"." in word for word in words))
