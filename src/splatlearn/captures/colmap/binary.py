"""Binary models: cameras.bin, images.bin and points3D.bin, little-endian, records one after the other.

Source: COLMAP, src/colmap/scene/reconstruction_io_binary.cc. Files are mapped into memory. Each count is compared with
the bytes that are left before memory is taken for it.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.colmap.tables import CameraRow, ImageRow, PointTable, camera_row
from splatlearn.captures.lenses import lens_model
from splatlearn.core.errors import InputError, Malformed

CAMERA = struct.Struct("<IiQQ")
IMAGE = struct.Struct("<I7dI")
POINT = np.dtype([("number", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")])
FEATURE = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
ELEMENT = np.dtype([("image", "<u4"), ("feature", "<u4")])
COUNT = struct.Struct("<Q")
LONGEST_NAME = 4096
LARGEST_SIDE = 2**31 - 1
CHUNK = 1 << 16
"""Records that are gathered at once."""


class Cursor:
    """A mapped file that is read from its beginning."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise Malformed("the file is empty")
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self.data, dtype=np.uint8)
        self.offset = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self.bytes) - self.offset

    def take(self, form: struct.Struct, what: str) -> tuple:
        """Read the fields of a record."""
        self.need(form.size, what)
        found = form.unpack_from(self.data, self.offset)
        self.offset += form.size
        return found

    def count(self, least: int, what: str) -> int:
        """Read the number of records that follow, each of `least` bytes or more."""
        (number,) = self.take(COUNT, what)
        if number * least > self.left:
            raise Malformed(
                f"expected {number:,} {what} of at least {least} bytes, got {self.left:,} bytes in all; the file is "
                "cut off or the count is wrong"
            )
        return number

    def rows(self, kind: np.dtype, number: int) -> NDArray:
        """Read records without copying them; `count` has compared their number with the file's size."""
        found = np.frombuffer(self.data, kind, number, self.offset) if number else np.empty(0, kind)
        self.offset += found.nbytes
        return found

    def name(self) -> str:
        """Read text up to a zero byte."""
        stop = self.data.find(b"\0", self.offset, self.offset + LONGEST_NAME)
        if stop < 0:
            raise Malformed(f"byte {self.offset:,}: expected the name of an image that ends with a zero byte")
        raw, self.offset = self.data[self.offset : stop], stop + 1
        return as_text(raw)

    def need(self, size: int, what: str) -> None:
        """Raise Malformed unless this number of bytes is left."""
        if size > self.left:
            raise Malformed(f"byte {self.offset:,}: expected {what}, but the file is cut off")

    def gather(self, kind: np.dtype, offsets: NDArray[np.int64]) -> NDArray:
        """Read records at these places, which were compared with the file's size."""
        found = np.empty(len(offsets), kind)
        raw = found.view(np.uint8).reshape(len(offsets), kind.itemsize)
        steps = np.arange(kind.itemsize)
        for start in range(0, len(offsets), CHUNK):
            part = offsets[start : start + CHUNK]
            raw[start : start + CHUNK] = self.bytes[part[:, None] + steps]
        return found

    def end(self) -> None:
        """Raise Malformed if bytes follow the last record."""
        if self.left:
            raise Malformed(f"expected the file to end after its last record, got {self.left:,} more bytes")


def as_text(raw: bytes) -> str:
    """A name as text; names that are not UTF-8 are taken for Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_cameras(path: Path) -> dict[int, CameraRow]:
    """Read cameras.bin. Raises Malformed."""
    cursor = Cursor(path)
    found: dict[int, CameraRow] = {}
    for _ in range(cursor.count(CAMERA.size, "cameras")):
        number, model, width, height = cursor.take(CAMERA, "a camera")
        try:
            length = len(lens_model(model).parameters)
        except InputError as error:  # how many parameters follow is not known
            raise Malformed(f"camera {number}: {error}") from None
        params = cursor.take(struct.Struct(f"<{length}d"), f"{length} parameters of camera {number}")
        if number in found:
            raise Malformed(f"expected each camera once, got number {number} twice")
        found[number] = camera_row(model, min(width, LARGEST_SIDE), min(height, LARGEST_SIDE), params)
    cursor.end()
    return found


def read_images(path: Path) -> list[ImageRow]:
    """Read images.bin. Raises Malformed."""
    cursor = Cursor(path)
    found: list[ImageRow] = []
    for _ in range(cursor.count(IMAGE.size + 1 + COUNT.size, "images")):
        number, *pose, camera = cursor.take(IMAGE, "an image")
        name = cursor.name()
        rows = cursor.rows(FEATURE, cursor.count(FEATURE.itemsize, f"features of {name[:40]!r}"))
        found.append(ImageRow(number, np.array(pose), camera, name, rows["pixel"]))
    cursor.end()
    return found


def read_points(path: Path) -> PointTable:
    """Read points3D.bin. Raises Malformed."""
    cursor = Cursor(path)
    number = cursor.count(POINT.itemsize, "points")
    places, lengths = _walk(cursor, number)
    cursor.end()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = cursor.gather(POINT, places)
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    elements = cursor.gather(ELEMENT, np.repeat(places + POINT.itemsize, lengths) + within * ELEMENT.itemsize)
    pairs = np.stack([elements["image"], elements["feature"]], axis=-1).astype(np.int64)
    return PointTable(rows["xyz"].astype(np.float64), rows["rgb"].copy(), rows["error"].copy(), starts, pairs)


def _walk(cursor: Cursor, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pass over points, which differ in length, and return where each begins and how many observations it has."""
    places, lengths = array("q"), array("q")
    read, data, size = COUNT.unpack_from, cursor.data, len(cursor.bytes)
    offset, head, step = cursor.offset, POINT.itemsize, ELEMENT.itemsize
    for index in range(number):
        fits = offset + head <= size
        length = read(data, offset + head - COUNT.size)[0] if fits else 0
        if not fits or length * step > size - offset - head:
            raise Malformed(
                f"byte {offset:,}: expected point {index + 1:,} of {number:,} with its observations; the file is cut "
                "off or a count is wrong"
            )
        places.append(offset)
        lengths.append(length)
        offset += head + length * step
    cursor.offset = offset
    return np.array(places, dtype=np.int64), np.array(lengths, dtype=np.int64)
