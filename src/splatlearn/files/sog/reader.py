"""SOG (PlayCanvas): `meta.json` and lossless images whose pixels are Gaussians, in a folder or a ZIP bundle."""

from __future__ import annotations

import math

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.files.sog.meta import LARGEST_PALETTE, PALETTE_COLUMNS, SogMeta, parse_meta
from splatlearn.files.sog.store import SogStore, image_size, read_pixels
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored, unpack_smallest_three

DEGREES = {PALETTE_COLUMNS * degree * (degree + 2): degree for degree in (1, 2, 3)}
"""Degrees of harmonics by the width of the image that has the palette."""
FIRST_TAG = 252
"""The alpha of a rotation's pixel says which of w, x, y, z is largest: 252 to 255; others mean no rotation."""


def read_sog(store: SogStore, frame: str, limit: int, drop_invalid: bool) -> SplatFile:
    """Read a scene of version 1 or 2.

    Raises Malformed for a meta.json that does not describe one, and images that are missing, of the wrong size or do
    not decode.
    """
    meta = parse_meta(store.read_meta(), limit)

    def pixels(number: int, part: tuple[str, ...]) -> np.ndarray:
        return read_pixels(store, part[number], meta.count)

    rotations = pixels(0, meta.quats)
    color = pixels(0, meta.sh0)
    direct = _looked_up(meta.color_tables, color)
    stored = Stored(
        means=_means(pixels(0, meta.means), pixels(1, meta.means), meta),
        log_scales=_looked_up(meta.scale_tables, pixels(0, meta.scales)),
        quaternions=_rotations(rotations),
        opacities=meta.opacity_table[color[:, 3]],
        sh=np.concatenate([direct[:, None], _high(store, meta)], axis=1),
    )
    gaussians, dropped = from_stored(stored, drop_invalid)
    return SplatFile(gaussians, "sog", frame, meta.antialiased, meta.generator, dropped)


def _looked_up(tables: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The numbers [K, 3] of the first three channels, each by its own table."""
    return np.stack([table[pixels[:, channel]] for channel, table in enumerate(tables)], axis=1)


def _means(low: np.ndarray, high: np.ndarray, meta: SogMeta) -> np.ndarray:
    steps = low[:, :3].astype(np.float64) + 256.0 * high[:, :3]
    logs = meta.mins + (meta.maxs - meta.mins) * (steps / 65535)
    return (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)


def _rotations(pixels: np.ndarray) -> np.ndarray:
    others = (pixels[:, :3] / np.float32(127.5) - 1) / np.float32(math.sqrt(2))
    tags = pixels[:, 3].astype(np.int64) - FIRST_TAG
    quaternions = unpack_smallest_three(np.maximum(tags, 0), others)
    quaternions[tags < 0] = (1, 0, 0, 0)
    return quaternions


def _high(store: SogStore, meta: SogMeta) -> np.ndarray:
    """Harmonics above degree 0 [K, M − 1, 3]: a palette of Gaussians' harmonics, and each Gaussian's place in it."""
    if meta.palette is None:
        return np.empty((meta.count, 0, 3), np.float32)
    palette = meta.palette
    degree, entries = palette.degree, palette.count
    if degree is None or entries is None:
        columns, rows = image_size(store, palette.centroids, LARGEST_PALETTE * max(DEGREES) // PALETTE_COLUMNS)
        if degree is None and columns not in DEGREES:
            widths = ", ".join(map(str, DEGREES))
            raise Malformed(f"{palette.centroids}: expected rows of {widths} pixels, got {columns} x {rows}")
        degree = degree or DEGREES[columns]
        entries = entries or min(rows * PALETTE_COLUMNS, LARGEST_PALETTE)
    size = degree * (degree + 2)
    width = PALETTE_COLUMNS * size
    centroids = read_pixels(store, palette.centroids, math.ceil(entries / PALETTE_COLUMNS) * width, width)
    labels = read_pixels(store, palette.labels, meta.count)
    places = labels[:, 0].astype(np.int64) + 256 * labels[:, 1].astype(np.int64)
    if int(places.max()) >= entries:
        raise Malformed(f"{palette.labels}: expected labels below {entries}, got {int(places.max())}")
    # Entries of the palette lie beside each other: the table is its pixels cut into rows of one entry each.
    table = palette.codebook[centroids[:, :3].reshape(-1, size, 3)]
    return table[places]
