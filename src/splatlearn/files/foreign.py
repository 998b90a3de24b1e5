"""Files of other formats, named so that a user knows what to convert."""

from __future__ import annotations

import struct

import numpy as np

STARTS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"solid ": "an STL mesh",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "a zstandard stream",
    b"7z\xbc\xaf": "a 7z archive",
}
POINTER = "version https://git-lfs"
SPLAT_ROW = 32
KSPLAT_HEADER, KSPLAT_SECTION = 4096, 1024
CHECKED_ROWS = 1000


def kind_of(data: bytes) -> str:
    """What a file is that is in none of the formats read here: a noun, and what to do where that is known."""
    if not data:
        return "an empty file"
    for start, kind in STARTS.items():
        if data.startswith(start):
            return kind
    text = _text(data)
    if text is not None:
        return _kind_of_text(text, data)
    if _is_splat(data):
        return "what looks like .splat (antimatter15), which has no header; let its name end in .splat"
    return f"a file that begins with {data[:8]!r}"


def is_text(data: bytes) -> bool:
    """Whether content begins as a text does."""
    return _text(data) is not None


def _text(data: bytes) -> str | None:
    """The beginning of a text in ASCII or UTF-8; None for other content."""
    start = data[:4096]
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in start):
        return None
    try:
        # The end may cut a letter in two.
        return start.decode("utf-8", errors="strict" if len(data) <= 4096 else "ignore").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return None


def _kind_of_text(text: str, data: bytes) -> str:
    lower = text[:200].lower()
    if text.startswith(POINTER):
        return "a Git LFS pointer instead of the file; `git lfs pull` fetches it"
    if lower.startswith(("<!doctype html", "<html")):
        return "an HTML page, perhaps of a failed download"
    if text.startswith(("{", "[")):
        return "a JSON file"
    if text.startswith(("v ", "vn ", "mtllib ", "o ")):
        return "an OBJ mesh"
    return f"a text that begins with {text[:40]!r}"


def is_ksplat(data: bytes) -> bool:
    """Whether the header has version 0.1 or later and sections that fit the file."""
    if len(data) < KSPLAT_HEADER + KSPLAT_SECTION or data[0] != 0 or data[1] == 0:
        return False
    most, sections, _, count = struct.unpack_from("<4I", data, 4)
    (compression,) = struct.unpack_from("<H", data, 20)
    return sections <= most and KSPLAT_HEADER + most * KSPLAT_SECTION <= len(data) and compression < 3 and count > 0


def _is_splat(data: bytes) -> bool:
    """Whether a file consists of rows of 32 bytes with plausible positions and scales in them."""
    if len(data) % SPLAT_ROW:
        return False
    numbers = np.frombuffer(data[: CHECKED_ROWS * SPLAT_ROW], np.dtype([("floats", "<f4", 6), ("bytes", "u1", 8)]))
    positions, scales = np.abs(numbers["floats"][:, :3]), numbers["floats"][:, 3:]
    plausible = (positions < 1e7).all() and ((scales >= 0) & (scales < 1e6)).all() and (scales > 1e-30).any()
    return bool(plausible)
