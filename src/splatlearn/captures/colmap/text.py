"""Text models: cameras.txt, images.txt and points3D.txt.

Source: COLMAP, src/colmap/scene/reconstruction_io_text.cc, and what other programs write that call themselves by it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.colmap.binary import as_text
from splatlearn.captures.colmap.tables import CameraRow, ImageRow, PointTable, camera_row
from splatlearn.captures.finding.names import printable
from splatlearn.core.errors import Malformed

LONGEST_INTEGER = 18
"""Digits."""
IMAGE_FIELDS = 10


def read_cameras(path: Path) -> dict[int, CameraRow]:
    """Read cameras.txt: CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]. Raises Malformed."""
    found: dict[int, CameraRow] = {}
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        if len(words) < 5:
            raise _wrong(number, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS", line)
        camera = _whole(words[0], number)
        if camera in found:
            raise Malformed(f"line {number}: expected each camera once, got number {camera} twice")
        size = _whole(words[2], number), _whole(words[3], number)
        found[camera] = camera_row(words[1], *size, tuple(_numbers(words[4:], number)))
    return found


def read_images(path: Path) -> list[ImageRow]:
    """Read images.txt: a line for each image, and one for its features, which may be empty or missing.

    The lines are IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME and (X, Y, POINT3D_ID)*. Raises Malformed.
    """
    found: list[ImageRow] = []
    lines = _lines(path)
    line = next(lines, None)
    while line is not None:
        number, text = line
        line = next(lines, None)
        if not text:
            continue
        words = text.split(None, IMAGE_FIELDS - 1)
        if len(words) < IMAGE_FIELDS:
            raise _wrong(number, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", text)
        features = np.zeros((0, 2))
        if line is not None and (table := _features(line[1])) is not None:
            features, line = table, next(lines, None)
        elif line is not None and not _is_image(line[1]):
            raise _wrong(line[0], "triples X Y POINT3D_ID, or the next image", line[1])
        pose = np.array(_numbers(words[1:8], number))
        found.append(ImageRow(_whole(words[0], number), pose, _whole(words[8], number), words[9], features))
    return found


def read_points(path: Path) -> PointTable:
    """Read points3D.txt: POINT3D_ID, X, Y, Z, R, G, B, ERROR, (IMAGE_ID, POINT2D_IDX)*. Raises Malformed."""
    rows, starts, elements = array("d"), array("q", [0]), array("q")
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        if len(words) < 8 or len(words) % 2:
            raise _wrong(number, "POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX", line)
        rows.extend(_numbers(words[1:8], number))
        elements.extend(_whole(word, number) for word in words[8:])
        starts.append(len(elements) // 2)
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    colors = np.nan_to_num(table[:, 3:6], posinf=255.0, neginf=0.0).clip(0, 255).astype(np.uint8)
    pairs = np.array(elements, dtype=np.int64).reshape(-1, 2)
    return PointTable(table[:, :3].copy(), colors, table[:, 6].copy(), np.array(starts, dtype=np.int64), pairs)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines without white space at their ends, numbered from 1; comments are left out, empty ones are not."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            text = as_text(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
            if not text.startswith("#"):
                yield number, text


def _features(text: str) -> NDArray[np.float64] | None:
    """The pixels [n, 2] of a line of features; None where the line is something else."""
    words = text.split()
    if len(words) % 3:
        return None
    try:
        return np.array(words, dtype=np.float64).reshape(-1, 3)[:, :2].copy()
    except ValueError:
        return None


def _is_image(text: str) -> bool:
    """Whether a line is that of an image: some programs write none for the features."""
    words = text.split(None, IMAGE_FIELDS - 1)
    try:
        [float(word) for word in words[:9]]
    except ValueError:
        return False
    return len(words) == IMAGE_FIELDS and words[8].isdigit()


def _numbers(words: list[str], line: int) -> list[float]:
    try:
        return [_number(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        hint = "; numbers take a point, not a comma" if "," in wrong else ""
        raise Malformed(f"line {line}: expected a number, got {printable(wrong)!r}{hint}") from None


def _number(word: str) -> float:
    # Windows writes what kind of NaN it is: -nan(ind).
    return math.nan if word.lower().lstrip("+-").startswith("nan(") else float(word)


def _is_number(word: str) -> bool:
    try:
        _number(word)
    except ValueError:
        return False
    return True


def _whole(word: str, line: int) -> int:
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_INTEGER):
        raise Malformed(f"line {line}: expected a whole number, got {printable(word)!r}")
    return int(word)


def _wrong(line: int, wanted: str, text: str) -> Malformed:
    return Malformed(f"line {line}: expected {wanted}, got {printable(text)!r}")
