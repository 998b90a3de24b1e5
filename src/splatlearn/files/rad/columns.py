"""The numbers in the columns of a .rad file."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from splatlearn.core.errors import Malformed
from splatlearn.files.rad.header import Chunk, Column

WIDTHS = {
    "f32": 4, "f16": 2, "f32_lebytes": 4, "f16_lebytes": 2, "ln_f16": 2, "r8": 1, "r8_delta": 1, "s8": 1, "s8_delta": 1,
    "ln_0r8": 1, "oct88r8": 1, "u16": 2, "u32": 4,
}  # fmt: skip
"""Bytes of a number in each encoding."""
ENCODINGS = {
    "center": ("f32", "f16", "f32_lebytes", "f16_lebytes"),
    "alpha": ("f32", "f16", "r8"),
    "rgb": ("f32", "f16", "r8", "r8_delta"),
    "scales": ("f32", "ln_0r8", "ln_f16"),
    "orientation": ("f32", "f16", "oct88r8"),
    "child_count": ("u16",),
    "sh_label": ("u16", "u32"),
}
HARMONICS = ("f32", "f16", "r8", "r8_delta", "s8", "s8_delta")
"""Encodings of each property that is read; of harmonics, all have the same."""


def numbers(chunk: Chunk, name: str, dimensions: int, count: int | None = None) -> np.ndarray:
    """The column of a property as numbers [count, dimensions], of all Gaussians of the chunk unless a count is given.

    Raises Malformed where the chunk has no such column, another encoding, or bytes of another number.
    """
    column = chunk.columns.get(name)
    if column is None:
        raise Malformed(f"expected the property {name!r} in every chunk, got {', '.join(chunk.columns) or 'none'}")
    allowed = ENCODINGS.get(name, HARMONICS)
    if column.encoding not in allowed:
        raise Malformed(f"{name}: expected an encoding of {', '.join(allowed)}, got {column.encoding!r}")
    count = chunk.count if count is None else count
    data = _unpacked(chunk, column, count * dimensions * WIDTHS[column.encoding])
    return DECODERS[column.encoding](data, count, dimensions, column)


def _unpacked(chunk: Chunk, column: Column, size: int) -> bytes:
    """The bytes of a column, of which there must be `size`; no more are unpacked, whatever the stream holds."""
    data = bytes(chunk.payload[column.offset : column.offset + column.size])
    if column.packed:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except zlib.error as error:
            raise Malformed(f"{column.name}: expected a deflate stream: {error}") from None
    if len(data) != size:
        raise Malformed(f"{column.name}: expected {size} bytes, got {len(data)}{' or more' * (len(data) > size)}")
    return data


def _columns(kind: str) -> Callable[[bytes, int, int, Column], np.ndarray]:
    """Decodes numbers of a type that lie dimension by dimension."""
    return lambda data, count, dimensions, column: np.frombuffer(data, kind).reshape(dimensions, count).T


def _planes(kind: str) -> Callable[[bytes, int, int, Column], np.ndarray]:
    """Decodes numbers whose lowest bytes come first, of all dimensions, then the next bytes."""

    def decoded(data: bytes, count: int, dimensions: int, column: Column) -> np.ndarray:
        planes = np.frombuffer(data, np.uint8).reshape(-1, dimensions * count)
        return np.ascontiguousarray(planes.T).view(kind).reshape(dimensions, count).T

    return decoded


def _levels(signed: bool, deltas: bool) -> Callable[[bytes, int, int, Column], np.ndarray]:
    """Decodes bytes between bounds, or bytes with a sign; `deltas`: each is the difference from the one before."""

    def decoded(data: bytes, count: int, dimensions: int, column: Column) -> np.ndarray:
        levels = np.frombuffer(data, np.uint8).reshape(dimensions, count)
        if deltas:
            levels = np.cumsum(levels, axis=1, dtype=np.uint8)
        low, high = _bounds(column, signed)
        if signed:
            return (levels.view(np.int8).astype(np.float32) / np.float32(127) * np.float32(high)).T
        return (levels.astype(np.float32) / np.float32(255) * np.float32(high - low) + np.float32(low)).T

    return decoded


def _bounds(column: Column, only_high: bool = False) -> tuple[float, float]:
    if column.high is None or (column.low is None and not only_high):
        raise Malformed(f"{column.name}: expected the bounds min and max of {column.encoding}, got none")
    return (0.0 if column.low is None else column.low), column.high


def _scale_levels(data: bytes, count: int, dimensions: int, column: Column) -> np.ndarray:
    """Logarithms of scales: 0 is a scale of zero, 1 to 255 lie evenly between the bounds."""
    low, high = _bounds(column)
    levels = np.frombuffer(data, np.uint8).reshape(dimensions, count).T.astype(np.float32)
    steps = np.float32(low) + (levels - 1) * np.float32((high - low) / 254)
    return np.where(levels == 0, np.float32(-np.inf), steps)


def octahedral(data: bytes, count: int, dimensions: int, column: Column) -> Float[np.ndarray, "count 4"]:
    """Quaternions, w first, of three bytes each: an axis on the folded octahedron, and half the angle of rotation."""
    found = np.frombuffer(data, np.uint8).reshape(count, 3).astype(np.float32) / np.float32(255)
    places = found[:, :2] * 2 - 1
    height = 1 - np.abs(places).sum(axis=1, keepdims=True)
    folded = np.maximum(-height, 0)
    axis = np.concatenate([places + np.where(places >= 0, -folded, folded), height], axis=1)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    half = found[:, 2:] * np.float32(np.pi / 2)
    return np.concatenate([np.cos(half), axis * np.sin(half)], axis=1)


DECODERS: dict[str, Callable[[bytes, int, int, Column], np.ndarray]] = {
    "f32": _columns("<f4"),
    "f16": _columns("<f2"),
    "ln_f16": _columns("<f2"),
    "f32_lebytes": _planes("<f4"),
    "f16_lebytes": _planes("<f2"),
    "r8": _levels(signed=False, deltas=False),
    "r8_delta": _levels(signed=False, deltas=True),
    "s8": _levels(signed=True, deltas=False),
    "s8_delta": _levels(signed=True, deltas=True),
    "ln_0r8": _scale_levels,
    "oct88r8": octahedral,
    "u16": _columns("<u2"),
    "u32": _columns("<u4"),
}
