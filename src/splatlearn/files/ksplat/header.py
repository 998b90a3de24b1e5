"""The headers of .ksplat (GaussianSplats3D, version 0.1): one for the file, one for each section."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.files.errors import check_count

HEADER_SIZE, SECTION_SIZE = 4096, 1024
HEADER = struct.Struct("<BBxx4IH2x5f")
"""Version, most sections, sections, most Gaussians, Gaussians, compression, centre, bounds of harmonics in bytes."""
SECTION = struct.Struct("<4IfH2xI4xIIH")
"""Gaussians, most of them, Gaussians and number of buckets, side, bytes of a bucket, range, full and partial buckets,
degree."""
BUCKET_SIZE = 12
USUAL_RANGE = 32767
USUAL_BOUND = 1.5
HIGHEST_DEGREE = 2
"""The largest degree of the format's own library."""


@dataclass(frozen=True)
class Section:
    """One section of the file.

    - `count`: of its Gaussians; `room`: the number that its data has room for; `degree`: of harmonics.
    - `bucket_size`, `buckets`, `full_buckets`, `partial_buckets`: Gaussians of a full bucket, and numbers of buckets.
    - `bucket_bytes`: of the data of a bucket, which begins with its centre.
    - `step`: the unit of positions in a bucket; `middle`: the number of positions in its centre.
    - `start`: the byte at which the section begins.
    """

    count: int
    room: int
    degree: int
    bucket_size: int
    buckets: int
    bucket_bytes: int
    full_buckets: int
    partial_buckets: int
    step: float
    middle: int
    start: int

    @property
    def data_start(self) -> int:
        """The byte at which rows begin, after lengths of partial buckets and centres of all buckets."""
        return self.start + 4 * self.partial_buckets + self.bucket_bytes * self.buckets


@dataclass(frozen=True)
class Header:
    """What the file says: `compression` 0 to 2, bounds of harmonics in bytes, and sections with Gaussians."""

    compression: int
    lowest: float
    highest: float
    sections: tuple[Section, ...]


def row_type(compression: int, degree: int) -> np.dtype:
    """The layout of a row; harmonics of a row go band by band, in each all of red first."""
    number, place = ("<f4", "<f4") if compression == 0 else ("<f2", "<u2")
    fields = [("means", place, 3), ("scales", number, 3), ("rotation", number, 4), ("colors", "u1", 4)]
    harmonics = 3 * degree * (degree + 2)
    return np.dtype([*fields, ("sh", "u1" if compression == 2 else number, harmonics)] if harmonics else fields)


def parse_header(data: bytes, limit: int) -> Header:
    """Parse all headers; raises Malformed where they do not fit one another or the size of the file."""
    if len(data) < HEADER_SIZE:
        raise Malformed(f"expected a header of {HEADER_SIZE} bytes, got {len(data)}")
    major, minor, room, used, _, count, compression, *_, lowest, highest = HEADER.unpack_from(data)
    if (major, compression > 2) != (0, False) or minor < 1:
        raise Malformed(f"expected .ksplat 0.1 with compression 0 to 2, got {major}.{minor} with {compression}")
    check_count(count, limit)
    start = HEADER_SIZE + room * SECTION_SIZE
    if used > room or start > len(data):
        raise Malformed(f"expected at most {room} used sections, whose headers lie within the file, got {used}")
    sections = []
    for number in range(room):
        section = _section(data, number, compression, start)
        end = section.data_start + section.room * row_type(compression, section.degree).itemsize
        if section.count > section.room or end > len(data):
            raise Malformed(
                f"section {number}: expected at most {section.room} Gaussians up to byte {end} of the file, got "
                f"{section.count} in a file of {len(data)} bytes"
            )
        start = end
        if section.count:
            sections.append(section)
    if sum(section.count for section in sections) != count:
        raise Malformed(f"expected {count} Gaussians, got sections with {[section.count for section in sections][:9]}")
    bounds = lowest or -USUAL_BOUND, highest or USUAL_BOUND
    if not all(np.isfinite(bounds)):
        raise Malformed(f"expected finite bounds of harmonics, got {bounds}")
    return Header(compression, *bounds, tuple(sections))


def _section(data: bytes, number: int, compression: int, start: int) -> Section:
    at = HEADER_SIZE + number * SECTION_SIZE
    count, room, size, buckets, side, bucket_bytes, middle, full, partial, degree = SECTION.unpack_from(data, at)
    if degree > HIGHEST_DEGREE:
        raise Malformed(f"section {number}: expected harmonics of degree 0 to {HIGHEST_DEGREE}, got {degree}")
    if compression and (bucket_bytes != BUCKET_SIZE or full + partial > buckets or not np.isfinite(side)):
        raise Malformed(
            f"section {number}: expected at most {buckets} buckets of {BUCKET_SIZE} bytes and a finite side, got "
            f"{full} full and {partial} partial ones of {bucket_bytes} bytes and a side of {side:.4g}"
        )
    middle = middle or USUAL_RANGE
    return Section(count, room, degree, size, buckets, bucket_bytes, full, partial, side / 2 / middle, middle, start)
