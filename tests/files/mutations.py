"""Broken splat files: random changes to good ones, outside and inside their compression."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pyarrow

Change = Callable[[bytes, np.random.Generator], bytes]
EXTRAS = [
    b"\r",
    b" 1",
    b"\xff",
    b"\nproperty list uchar int a",
    b"\nelement more 3",
    b"\nend_header",
    b"\ncomment \xe9",
]
EXTREMES = [float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-45, 0.0]
NUMBERS = [b"0", b"-1", b"255", b"256", b"65536", b"4294967295", b"999999999999", b"1e999", b"nan", b"null", b'"a"']


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits, in the first hundred bytes half of the time: headers are short."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        reach = min(len(changed), 100) if rng.random() < 0.5 else len(changed)
        changed[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def fill(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of equal bytes: zeros, largest counts, NaN."""
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 17))
    value = int(rng.choice([0x00, 0x7F, 0x80, 0xFF]))
    return data[:start] + bytes([value]) * min(length, len(data) - start) + data[start + length :]


def drop(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 65))
    return data[:start] + data[start + length :]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 65))
    return data[: start + length] + data[start:]


def change_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Put another number in the place of one that is written in digits, in the first 1000 bytes."""
    text = data[:1000]
    places = [index for index in range(len(text)) if text[index : index + 1].isdigit()]
    if not places:
        return flip_bits(data, rng)
    start = stop = int(rng.choice(places))
    while data[stop : stop + 1].isdigit():
        stop += 1
    return data[:start] + NUMBERS[int(rng.integers(len(NUMBERS)))] + data[stop:]


def change_line(data: bytes, rng: np.random.Generator) -> bytes:
    """Drop, repeat, exchange or lengthen a line of the first 2000 bytes."""
    lines = data[:2000].split(b"\n")
    one, two = (int(rng.integers(len(lines))) for _ in range(2))
    match int(rng.integers(4)):
        case 0:
            del lines[one]
        case 1:
            lines.insert(one, lines[two])
        case 2:
            lines[one], lines[two] = lines[two], lines[one]
        case _:
            lines[one] += EXTRAS[int(rng.integers(len(EXTRAS)))]
    return b"\n".join(lines) + data[2000:]


def put_float(data: bytes, rng: np.random.Generator) -> bytes:
    """Write an extreme number over a few bytes, or behind them all."""
    start = int(rng.integers(len(data) + 1))
    number = struct.pack("<f", EXTREMES[int(rng.integers(len(EXTREMES)))])
    return data[:start] + number + data[start + 4 :]


CHANGES: tuple[Change, ...] = (cut, flip_bits, fill, drop, repeat, change_number, change_line, put_float)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Break a file from outside, or unpack it, break what is inside, and pack it again."""
    if rng.random() < 0.5:
        if data[:2] == b"\x1f\x8b":
            return gzip.compress(_change(gzip.decompress(data), rng), 1)
        if data[:5] == b"NGSP\4":
            return _change_stream(data, rng)
        if data[:2] == b"PK":
            return _change_member(data, rng)
    return _change(data, rng)


def _change(data: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 3))):
        if data:
            data = CHANGES[int(rng.integers(len(CHANGES)))](data, rng)
    return data


def _change_stream(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one stream of SPZ 4 and, half of the time, the table to match."""
    count = data[15]
    entries = [list(struct.unpack_from("<QQ", data, 32 + 16 * index)) for index in range(count)]
    streams, offset = [], 32 + 16 * count
    for packed, _ in entries:
        streams.append(data[offset : offset + packed])
        offset += packed
    chosen = int(rng.integers(count))
    content = _change(pyarrow.decompress(streams[chosen], entries[chosen][1], codec="zstd", asbytes=True), rng)
    streams[chosen] = pyarrow.compress(content, codec="zstd", asbytes=True)
    entries[chosen][0] = len(streams[chosen])
    if rng.random() < 0.5:
        entries[chosen][1] = len(content)
    return data[:32] + b"".join(struct.pack("<QQ", *entry) for entry in entries) + b"".join(streams)


def _change_member(data: bytes, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = "meta.json" if rng.random() < 0.5 else list(files)[int(rng.integers(len(files)))]
    files[name] = _change(files[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    return buffer.getvalue()
