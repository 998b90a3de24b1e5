"""SPZ (Niantic): fixed-point positions and bytes, versions 1 to 3 in gzip and version 4 in zstandard streams.

Content of versions 1 to 3 that was left uncompressed is read too. Version 1, which has half floats for positions, is
not written.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow

from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import MAX_DEGREE, coefficient_count
from splatlearn.files.errors import check_count, check_ratio
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.spz.numbers import SPZ_FRAMES, Packed, pack, unpack
from splatlearn.files.stored import from_stored, to_stored

SpzVersion = Literal[2, 3, 4]
"""Versions that are written."""
IN_ONE_STREAM = (1, 2, 3)
MAGIC = b"NGSP"
GZIP_MAGIC = b"\x1f\x8b"
HEADER = struct.Struct("<4sIIBBBB")
"""Magic, version, Gaussians, degree, fractional bits, flags, and the number of streams (0 before version 4)."""
LONG_HEADER_SIZE = 32
UNPACKED_VERSIONS = tuple(struct.pack("<I", version) for version in IN_ONE_STREAM)
TOC_ENTRY = struct.Struct("<QQ")
EXTENSION = struct.Struct("<II")
FLAG_ANTIALIASED, FLAG_EXTENSIONS = 1, 2
FRAME_EXTENSION = 0xADBE0003
"""The extension that names the frame of the file by its number in SPZ_FRAMES (SPZ_ADOBE_coordinate_system)."""
LARGEST_EXTENSIONS = 1 << 20
LEVEL = 12
"""Of compression in zstandard, as the format's own library has it."""


@dataclass(frozen=True)
class Header:
    """The fields that all versions share; `streams` and `toc` are those of version 4."""

    version: int
    count: int
    degree: int
    fractional_bits: int
    flags: int
    streams: int = 0
    toc: int = 0

    @property
    def sizes(self) -> list[int]:
        """Bytes of the positions, opacities, colours, scales, rotations and harmonics."""
        position, rotation = 6 if self.version == 1 else 9, 3 if self.version <= 2 else 4
        return [self.count * size for size in (position, 1, 3, 3, rotation, 3 * (coefficient_count(self.degree) - 1))]


def is_spz(data: bytes) -> bool:
    """Whether content begins as the format does."""
    return data[:4] == MAGIC or data[:2] == GZIP_MAGIC


def read_spz(data: bytes, frame: str | None, limit: int, drop_invalid: bool) -> SplatFile:
    """Read a file in the frame that its extension names where `frame` is None, "RUB" without one.

    Raises Malformed for other versions, sizes that do not fit the header, and streams that do not unpack.
    """
    if data[:2] == GZIP_MAGIC:
        header, parts, extensions = _read_gzip(data, limit)
    elif data[4:8] in UNPACKED_VERSIONS:
        header, parts, extensions = _read_unpacked(data, limit)
    else:
        header, parts, extensions = _read_streams(data, limit)
    named = _named_frame(extensions) if header.flags & FLAG_EXTENSIONS else None
    arrays = [np.frombuffer(part, np.uint8) for part in parts]
    stored = unpack(Packed(*arrays), header.version, header.degree, header.fractional_bits)
    gaussians, dropped = from_stored(stored, drop_invalid)
    antialiased = bool(header.flags & FLAG_ANTIALIASED)
    return SplatFile(gaussians, "spz", frame or named or SPZ_FRAMES[4], antialiased, dropped=dropped)


def spz_bytes(gaussians: Gaussians, antialiased: bool, version: int) -> bytes:
    """The file of Gaussians [K] with `sh` in the frame "RUB"; raises InputError for another version."""
    if version not in get_args(SpzVersion):
        raise InputError(f"spz_version: expected one of {', '.join(map(str, get_args(SpzVersion)))}, got {version}")
    packed, bits = pack(to_stored(gaussians), version)
    flags = FLAG_ANTIALIASED if antialiased else 0
    parts = [part.tobytes() for part in vars(packed).values()]
    streams = [part for part in parts if part] if version == 4 else []
    head = HEADER.pack(MAGIC, version, gaussians.count, gaussians.degree, bits, flags, len(streams))
    if version < 4:
        compressor = zlib.compressobj(level=9, wbits=31)
        return compressor.compress(head + b"".join(parts)) + compressor.flush()
    codec = pyarrow.Codec("zstd", compression_level=LEVEL)
    small = [codec.compress(part, asbytes=True) for part in streams]
    toc = b"".join(TOC_ENTRY.pack(len(after), len(before)) for after, before in zip(small, streams, strict=True))
    head += struct.pack("<I", LONG_HEADER_SIZE)
    return head.ljust(LONG_HEADER_SIZE, b"\0") + toc + b"".join(small)


def _read_gzip(data: bytes, limit: int) -> tuple[Header, list[bytes], bytes]:
    """The parts of versions 1 to 3: one gzip stream of header, parts and extensions."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        start = unpacker.decompress(data, HEADER.size)
        if len(start) == HEADER.size and not start.startswith(MAGIC):
            raise Malformed(f"expected gzip with SPZ in it, got gzip with content that begins with {start[:8]!r}")
        header = _header(start, IN_ONE_STREAM, limit)
        wanted = sum(header.sizes)
        check_ratio("gzip stream", wanted, len(data))
        room = wanted + (LARGEST_EXTENSIONS if header.flags & FLAG_EXTENSIONS else 0) + 1
        body = unpacker.decompress(unpacker.unconsumed_tail, room)
    except zlib.error as error:
        raise Malformed(f"gzip stream: {error}") from None
    if len(body) >= wanted and len(body) < room and not unpacker.eof:
        raise Malformed(f"expected {wanted} bytes after the header, got {len(body)}; the file is cut off")
    return header, *_parts(header, body, len(body) == room or bool(unpacker.unused_data.strip()))


def _read_unpacked(data: bytes, limit: int) -> tuple[Header, list[bytes], bytes]:
    """The same without compression."""
    header = _header(data, IN_ONE_STREAM, limit)
    return header, *_parts(header, data[HEADER.size :], False)


def _parts(header: Header, body: bytes, has_more: bool) -> tuple[list[bytes], bytes]:
    """The parts and the extensions of versions 1 to 3 after the header."""
    wanted = sum(header.sizes)
    if len(body) < wanted:
        raise Malformed(f"expected {wanted} bytes after the header, got {len(body)}; the file is cut off")
    if has_more or (body[wanted:].strip() and not header.flags & FLAG_EXTENSIONS):
        raise Malformed(f"expected {wanted} bytes after the header, got more; the count is wrong")
    return _cut(body, header.sizes), body[wanted:]


def _read_streams(data: bytes, limit: int) -> tuple[Header, list[bytes], bytes]:
    """The parts of version 4, each its own stream; those without a byte have none."""
    header = _header(data, (4,), limit)
    sizes = [size for size in header.sizes if size]
    start = header.toc + header.streams * TOC_ENTRY.size
    if header.streams != len(sizes) or header.toc < LONG_HEADER_SIZE or start > len(data):
        raise Malformed(
            f"expected a table of {len(sizes)} streams within the file, got {header.streams} at byte {header.toc}"
        )
    entries = list(TOC_ENTRY.iter_unpack(data[header.toc : start]))
    wanted = sum(packed for packed, _ in entries)
    if start + wanted > len(data) or data[start + wanted :].strip():
        raise Malformed(
            f"expected streams of {wanted} bytes, got {len(data) - start}; the file is cut off or its table is wrong"
        )
    # Of all streams together: harmonics that are all zero take a few bytes of zstandard.
    check_ratio("streams", sum(sizes), len(data))
    parts = []
    for (packed, unpacked), size in zip(entries, sizes, strict=True):
        if unpacked != size:
            raise Malformed(f"stream {len(parts)}: expected {size} bytes for {header.count} Gaussians, got {unpacked}")
        parts.append(_unpack_zstandard(data[start : start + packed], size, len(parts)))
        start += packed
    if len(parts) < len(header.sizes):
        parts.append(b"")
    return header, parts, data[LONG_HEADER_SIZE : header.toc]


def _unpack_zstandard(data: bytes, size: int, number: int) -> bytes:
    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
            content = stream.read(size + 1)
    except OSError as error:
        raise Malformed(f"stream {number}: {error}") from None
    if len(content) != size:
        raise Malformed(
            f"stream {number}: expected {size} bytes, got {'more' if len(content) > size else len(content)}"
        )
    return content


def _header(data: bytes, versions: tuple[int, ...], limit: int) -> Header:
    if len(data) < HEADER.size:
        raise Malformed(f"expected a header of {HEADER.size} bytes, got {len(data)}")
    magic, version, count, degree, bits, flags, streams = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Malformed(f"expected the header {MAGIC!r}, got {magic!r}")
    if version not in versions:
        raise Malformed(f"expected SPZ of one of the versions 1, 2, 3, 4, got version {version}")
    check_count(count, limit)
    if degree > MAX_DEGREE:
        raise Malformed(f"expected harmonics of degree 0 to {MAX_DEGREE}, got {degree}")
    if bits > 31:
        raise Malformed(f"expected 0 to 31 fractional bits of positions, got {bits}")
    if version < 4:
        return Header(version, count, degree, bits, flags)
    if len(data) < LONG_HEADER_SIZE:
        raise Malformed(f"expected a header of {LONG_HEADER_SIZE} bytes, got {len(data)}")
    (toc,) = struct.unpack_from("<I", data, HEADER.size)
    return Header(version, count, degree, bits, flags, streams, toc)


def _named_frame(extensions: bytes) -> str | None:
    """The frame that an extension names; other extensions are skipped."""
    offset = 0
    while offset < len(extensions):
        kind, size = EXTENSION.unpack_from(extensions.ljust(offset + EXTENSION.size, b"\0"), offset)
        offset += EXTENSION.size
        if offset + size > len(extensions):
            raise Malformed(f"extension {kind:#x}: expected {size} bytes, got {max(0, len(extensions) - offset)}")
        if kind == FRAME_EXTENSION:
            (number,) = struct.unpack("<I", extensions[offset : offset + size]) if size == 4 else (math.inf,)
            if number >= len(SPZ_FRAMES):
                raise Malformed(f"extension {kind:#x}: expected the number of a frame, got {number}")
            return SPZ_FRAMES[int(number)] or None
        offset += size
    return None


def _cut(body: bytes, sizes: list[int]) -> list[bytes]:
    parts, offset = [], 0
    for size in sizes:
        parts.append(body[offset : offset + size])
        offset += size
    return parts
