"""The numbers of SPZ: how positions, scales, rotations and colours become bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from splatlearn.core.errors import InputError
from splatlearn.core.geometry.harmonics import C0
from splatlearn.files.stored import Stored, in_blocks, pack_smallest_three, unpack_smallest_three

SPZ_FRAMES = (
    "", "LDB", "RDB", "LUB", "RUB", "LDF", "RDF", "LUF", "RUF",
    "LFD", "RFD", "LFU", "RFU", "LBD", "RBD", "LBU", "RBU",
)  # fmt: skip
"""Frames by their number in files; 0 leaves it open. Without a number it is "RUB"."""
COLOR_SCALE = 0.15
"""The coefficient of degree 0 times this plus one half is a byte's share of 255."""
HIGHEST_COLOR = 0.5 + C0 * 0.5 / COLOR_SCALE
"""The largest colour of degree 0 that a byte holds, 1.44; the smallest is as far below 0.5."""
MOST_FRACTIONAL_BITS = 20
LARGEST_FIXED = (1 << 23) - 1
MAGNITUDE = (1 << 9) - 1
WXYZ = [3, 0, 1, 2]
XYZW = [1, 2, 3, 0]


@dataclass(frozen=True)
class Packed:
    """The six parts of a file, in its order, as arrays of bytes of any shape."""

    positions: np.ndarray
    opacities: np.ndarray
    colors: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    sh: np.ndarray


def unpack(packed: Packed, version: int, degree: int, fractional_bits: int) -> Stored:
    """The numbers of a file whose parts have the right sizes."""
    colors = _array(packed.colors, 3) / np.float32(255)
    direct = ((colors - np.float32(0.5)) / np.float32(COLOR_SCALE))[:, None]
    high = (packed.sh.reshape(len(direct), degree * (degree + 2), 3) - np.float32(128)) / np.float32(128)
    if version == 1:
        means = np.frombuffer(packed.positions.tobytes(), "<f2").reshape(-1, 3).astype(np.float32)
    else:
        means = _fixed_point(_array(packed.positions, 9)) * np.float32(2.0**-fractional_bits)
    return Stored(
        means=means,
        log_scales=_array(packed.scales, 3) / np.float32(16) - np.float32(10),
        quaternions=_rotations(packed.rotations, version),
        opacities=_array(packed.opacities, 1)[:, 0] / np.float32(255),
        sh=np.concatenate([direct, high], axis=1),
    )


def pack(stored: Stored, version: int) -> tuple[Packed, int]:
    """The parts of a file, and the fractional bits of its positions: as many as the farthest of them leaves.

    Harmonics keep all 8 bits.
    """
    farthest = float(np.abs(stored.means).max())
    bits = MOST_FRACTIONAL_BITS if farthest == 0 else math.floor(math.log2(LARGEST_FIXED / farthest))
    bits = min(bits, MOST_FRACTIONAL_BITS)
    if bits < 0:
        raise InputError(
            f"means: expected coordinates within ±{LARGEST_FIXED} for SPZ, got ±{farthest:.4g}; scale them"
        )
    fixed = np.rint(stored.means.astype(np.float64) * 2.0**bits).astype("<i4")
    direct, high = stored.sh[:, 0], stored.sh[:, 1:]
    packed = Packed(
        positions=fixed.view(np.uint8).reshape(-1, 4)[:, :3],
        opacities=_bytes(stored.opacities * 255.0),
        colors=_bytes((direct * COLOR_SCALE + 0.5) * 255.0),
        scales=_bytes((stored.log_scales + 10.0) * 16.0),
        rotations=_rotation_bytes(stored.quaternions, version),
        sh=in_blocks(lambda rows: _bytes(high[rows] * 128.0 + 128.0), len(high)),
    )
    return packed, bits


def _array(part: np.ndarray, width: int) -> np.ndarray:
    return part.reshape(-1, width)


def _bytes(numbers: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(numbers, 0, 255)).astype(np.uint8)


def _fixed_point(triples: np.ndarray) -> np.ndarray:
    """Signed 24-bit numbers, lowest byte first."""
    low, middle, high = triples.reshape(len(triples), 3, 3).transpose(2, 0, 1).astype(np.int32)
    number = low | (middle << 8) | (high << 16)
    return np.where(number > LARGEST_FIXED, number - (1 << 24), number).astype(np.float32)


def _rotations(part: np.ndarray, version: int) -> np.ndarray:
    if version <= 2:
        xyz = _array(part, 3) / np.float32(127.5) - np.float32(1)
        w = np.sqrt(np.maximum(0, 1 - np.square(xyz).sum(axis=-1, keepdims=True)))
        return np.concatenate([w, xyz], axis=-1)
    words = np.ascontiguousarray(_array(part, 4)).view("<u4")[:, 0]
    fields = np.stack([(words >> np.uint32(shift)) & np.uint32(1023) for shift in (20, 10, 0)], axis=-1)
    sizes = (fields & MAGNITUDE) * np.float32(math.sqrt(0.5) / MAGNITUDE)
    others = np.where(fields > MAGNITUDE, -sizes, sizes).astype(np.float32)
    return unpack_smallest_three(words >> np.uint32(30), others)[:, WXYZ]


def _rotation_bytes(quaternions: np.ndarray, version: int) -> np.ndarray:
    if version == 2:
        signed = np.where(quaternions[:, :1] < 0, -quaternions, quaternions)
        return _bytes((signed[:, 1:] + 1.0) * 127.5)
    largest, others = pack_smallest_three(quaternions[:, XYZW])
    sizes = np.rint(np.minimum(np.abs(others) / math.sqrt(0.5), 1.0) * MAGNITUDE).astype(np.uint32)
    fields = np.where(others < 0, sizes + (MAGNITUDE + 1), sizes).astype(np.uint32)
    words = largest.astype(np.uint32) << 30
    for shift, column in zip((20, 10, 0), fields.T, strict=True):
        words |= column << np.uint32(shift)
    return words.astype("<u4").view(np.uint8)
