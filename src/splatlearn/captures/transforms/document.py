"""The JSON of one transforms file: an object with `frames`, whose other keys hold for every frame without its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from splatlearn.core.disk.atomic import parse_object
from splatlearn.core.errors import FormatError, Malformed
from splatlearn.core.typed import shown

LARGEST = 128 << 20
"""Bytes; a frame takes about one thousand."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a transforms file. Raises FormatError unless it is an object with a list of frames."""
    if (size := path.stat().st_size) > LARGEST:
        raise FormatError(f"{path}: expected at most {LARGEST:,} bytes of JSON, got {size:,}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: expected JSON in UTF-8, got {error}") from error
    document = parse_object(text, str(path))
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise FormatError(f"{path}: frames: expected a list of photographs with their poses, got {shown(frames)}")
    return document


def number(values: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number, None where the key is missing or null. Raises Malformed for anything else."""
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{name}: expected a number, got {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Malformed(f"{name}: expected a finite number, got {shown(value)}")
    return found


def text(values: Mapping[str, Any], name: str) -> str | None:
    """Return text, None where the key is missing, null or empty. Raises Malformed for anything else."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Malformed(f"{name}: expected text, got {shown(value)}")
    return value


def names(values: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of names, empty where the key is missing. Raises Malformed for anything else."""
    found = values.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Malformed(f"{name}: expected a list of names, got {shown(found)}")
    return found


def matrix(values: Mapping[str, Any], name: str) -> list[list[float]]:
    """Return a matrix of 3 or 4 rows of 4 numbers. Raises Malformed for anything else."""
    rows = values.get(name)
    if isinstance(rows, Sequence) and len(rows) in (3, 4) and all(_is_row(row) for row in rows):
        try:
            return [[float(entry) for entry in row] for row in rows]
        except OverflowError:  # whole numbers have no largest
            pass
    raise Malformed(f"{name}: expected 4 rows of 4 numbers, got {shown(rows)}")


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == 4 and all(type(entry) in (int, float) for entry in row)
