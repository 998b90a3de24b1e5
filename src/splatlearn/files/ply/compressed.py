"""Compressed PLY (PlayCanvas): chunks of 256 Gaussians between a minimum and a maximum, 16 bytes each."""

from __future__ import annotations

import math

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.ply.container import Ply, columns, ply_bytes
from splatlearn.files.errors import check_count
from splatlearn.files.offset import NO_OFFSET, Offset
from splatlearn.files.ply.gaussians import (
    is_antialiased,
    marks,
    offset_of,
    rest_degree,
    rest_names,
    split_rest,
    writer_of,
)
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import (
    Stored,
    from_stored,
    in_blocks,
    pack_smallest_three,
    quantise,
    to_stored,
    unpack_smallest_three,
)

CHUNK = 256
HIGHEST_DEGREE = 3
POSITION_BITS = (11, 10, 11)
HARMONIC_RANGE = 8.0
"""Harmonics above degree 0 are bytes from −4 to 4."""
LARGEST_LOG_SCALE = 20.0
CHUNK_NAMES = [f"{end}_{kind}{axis}" for kind in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
COLOR_NAMES = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]


def is_compressed(ply: Ply) -> bool:
    """Whether a parsed file has the packed properties of the format."""
    return "chunk" in ply.tables or "packed_position" in (ply.tables.get("vertex", np.empty(0)).dtype.names or ())


def read_compressed_ply(ply: Ply, frame: str, limit: int, drop_invalid: bool) -> SplatFile:
    """Read a parsed file; raises Malformed for tables that do not belong together."""
    if not {"chunk", "vertex"} <= ply.tables.keys():
        raise Malformed(f"expected the elements chunk and vertex, found {', '.join(ply.tables)}")
    chunks, table = ply.tables["chunk"], ply.tables["vertex"]
    check_count(len(table), limit)
    if len(chunks) != math.ceil(len(table) / CHUNK):
        raise Malformed(f"expected one chunk for every {CHUNK} Gaussians, got {len(chunks)} for {len(table)}")
    position, rotation, scale, color = (_words(table, name) for name in PACKED)
    bounds = columns(chunks, CHUNK_NAMES, "chunk").reshape(-1, 4, 3)
    chunk = np.arange(len(table)) // CHUNK
    channels = _unpack(color, (8, 8, 8, 8))
    colors = channels[:, :3]
    if "min_r" in (chunks.dtype.names or ()):
        edges = columns(chunks, COLOR_NAMES, "chunk").reshape(-1, 2, 3)
        colors = _between(edges[chunk, 0], edges[chunk, 1], colors)
    stored = Stored(
        means=_between(bounds[chunk, 0], bounds[chunk, 1], _unpack(position, POSITION_BITS)),
        log_scales=_between(bounds[chunk, 2], bounds[chunk, 3], _unpack(scale, POSITION_BITS)),
        quaternions=unpack_smallest_three(
            rotation >> np.uint32(30), (_unpack(rotation, (10, 10, 10)) - 0.5) * np.float32(math.sqrt(2))
        ),
        opacities=channels[:, 3],
        sh=_harmonics(ply, (colors - np.float32(0.5)) / np.float32(C0)),
    )
    gaussians, dropped = from_stored(stored, drop_invalid)
    comments = ply.comments
    said = is_antialiased(comments), writer_of(comments), dropped, offset_of(comments)
    return SplatFile(gaussians, "compressed-ply", frame, *said)


def compressed_ply_bytes(gaussians: Gaussians, antialiased: bool, offset: Offset = NO_OFFSET) -> bytes:
    """The file of Gaussians [K] with `sh` of degree 3 at most, those of each chunk close together."""
    stored, count = to_stored(gaussians), gaussians.count
    order = _chunk_order(stored.means)
    means = stored.means[order]
    log_scales = stored.log_scales[order].clip(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
    colors = stored.sh[order, 0] * C0 + 0.5
    starts = np.arange(0, count, CHUNK)
    chunk = np.arange(count) // CHUNK
    packed = np.empty(count, np.dtype([(name, "<u4") for name in PACKED]))
    edges = []
    shares = []
    for values in (means, log_scales, colors):
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        span = (high.astype(np.float64) - low)[chunk]
        shares.append((values - low[chunk].astype(np.float64)) / np.where(span > 0, span, 1.0))
        edges += [low, high]
    largest, others = pack_smallest_three(stored.quaternions[order])
    packed["packed_position"] = _pack(shares[0], POSITION_BITS)
    packed["packed_scale"] = _pack(shares[1], POSITION_BITS)
    packed["packed_color"] = _pack(np.column_stack([shares[2], stored.opacities[order]]), (8, 8, 8, 8))
    packed["packed_rotation"] = _pack(others / math.sqrt(2) + 0.5, (10, 10, 10)) | (largest.astype(np.uint32) << 30)
    chunks = np.concatenate(edges, axis=1).astype("<f4")
    tables = {
        "chunk": chunks.view(np.dtype([(name, "<f4") for name in CHUNK_NAMES + COLOR_NAMES]))[:, 0],
        "vertex": packed,
    }
    if gaussians.degree:
        steps = in_blocks(lambda rows: _harmonic_steps(stored.sh[order[rows], 1:]), count)
        tables["sh"] = steps.view(np.dtype([(name, "u1") for name in rest_names(steps.shape[1])]))[:, 0]
    return ply_bytes(tables, marks(antialiased, offset))


def _harmonic_steps(high: np.ndarray) -> np.ndarray:
    """Bytes [K, ...] of harmonics [K, M − 1, 3] above degree 0, channel after channel."""
    rest = high.transpose(0, 2, 1).reshape(len(high), -1)
    return np.floor((rest / HARMONIC_RANGE + 0.5) * 256).clip(0, 255).astype(np.uint8)


def _chunk_order(means: np.ndarray) -> np.ndarray:
    """Indices [K] such that the Gaussians of a chunk lie close together.

    Sets are halved across the axis whose steps would be longest. Errors are about two thirds of those along a Morton
    curve, which takes no notice of where chunks begin and of the bits of each axis.
    """
    levels = (1 << np.array(POSITION_BITS)) - 1
    left, done = [np.arange(len(means))], []
    while left:
        part = left.pop()
        if len(part) <= CHUNK:
            done.append(part)
            continue
        values = means[part]
        axis = (np.ptp(values.astype(np.float64), axis=0) / levels).argmax()
        half = math.ceil(len(part) / CHUNK) // 2 * CHUNK
        sides = values[:, axis].argsort(kind="stable")
        left += [part[sides[half:]], part[sides[:half]]]
    return np.concatenate(done)


def _harmonics(ply: Ply, direct: np.ndarray) -> np.ndarray:
    if "sh" not in ply.tables:
        return direct[:, None]
    table = ply.tables["sh"]
    degree = rest_degree(table.dtype.names or ())
    if not degree:
        # gsplat declares rows without properties.
        return direct[:, None]
    if len(table) != len(direct):
        raise Malformed(f"element sh: expected {len(direct)} rows, one for each Gaussian, got {len(table)}")
    steps = columns(table, rest_names(3 * degree * (degree + 2)), "sh")
    # The outermost steps stand for their outer edge, the others for their middle.
    shares = np.where(steps <= 0, 0.0, np.where(steps >= 255, 1.0, (steps + 0.5) / 256))
    return split_rest(((shares - 0.5) * HARMONIC_RANGE).astype(np.float32), direct)


def _words(table: np.ndarray, name: str) -> np.ndarray:
    if name not in (table.dtype.names or ()) or table.dtype[name].kind not in "iu" or table.dtype[name].itemsize < 4:
        raise Malformed(f"element vertex: expected the property {name} of type uint, found none")
    # The bits are what counts: some writers call the type int.
    return table[name].astype(np.uint32)


def _unpack(words: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    """Fields of the lowest bits, the last field lowest, as shares of their largest value [K, fields]."""
    shifts = [sum(bits[number + 1 :]) for number in range(len(bits))]
    fields = [
        ((words >> np.uint32(shift)) & np.uint32((1 << width) - 1)) / np.float32((1 << width) - 1)
        for shift, width in zip(shifts, bits, strict=True)
    ]
    return np.stack(fields, axis=-1).astype(np.float32)


def _pack(shares: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    words = np.zeros(len(shares), dtype=np.uint32)
    for column, width in zip(shares.T, bits, strict=True):
        words = (words << np.uint32(width)) | quantise(column, (1 << width) - 1)
    return words


def _between(low: np.ndarray, high: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return low * (1 - shares) + high * shares
