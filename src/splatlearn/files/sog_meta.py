"""The meta.json of SOG, version 2: what it must say, and what it says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from splatlearn.files.errors import Malformed, check_count

META_NAME = "meta.json"
LARGEST_META = 1 << 20
LEVELS = 256
PALETTE_COLUMNS = 64
LARGEST_PALETTE = 65536
LARGEST_NUMBER = 1e38


@dataclass(frozen=True, eq=False)
class Palette:
    """Harmonics above degree 0: `count` entries in the image `centroids`, through a codebook [256] of numbers."""

    count: int
    codebook: np.ndarray
    centroids: str
    labels: str


@dataclass(frozen=True, eq=False)
class SogMeta:
    """A parsed description; `means`, `scales`, `quats` and `sh0` are names of images, codebooks are float32 [256]."""

    count: int
    antialiased: bool
    mins: np.ndarray
    maxs: np.ndarray
    scale_codebook: np.ndarray
    color_codebook: np.ndarray
    means: tuple[str, ...]
    scales: tuple[str, ...]
    quats: tuple[str, ...]
    sh0: tuple[str, ...]
    degree: int
    palette: Palette | None


def parse_meta(text: bytes, limit: int) -> SogMeta:
    """Parse a description; raises Malformed naming the field that is missing or of another kind."""
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{META_NAME}: expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    if not isinstance(meta, dict):
        raise Malformed(f"{META_NAME}: expected an object, got {type(meta).__name__}")
    if meta.get("version") != 2:
        raise Malformed(
            f"{META_NAME}: expected version 2, got {str(meta.get('version', 'none'))[:20]}; convert older scenes with "
            "PlayCanvas' splat-transform"
        )
    count = _whole(meta, "count")
    check_count(count, limit)
    means, scales, quats, sh0 = (_part(meta, name) for name in ("means", "scales", "quats", "sh0"))
    palette, degree = None, 0
    if meta.get("shN") is not None:
        part = _part(meta, "shN")
        degree = _whole(part, "bands")
        if not 1 <= degree <= 3:
            raise Malformed(f"{META_NAME}: bands: expected 1, 2 or 3, got {degree}")
        entries = _whole(part, "count")
        if not 1 <= entries <= LARGEST_PALETTE:
            raise Malformed(f"{META_NAME}: shN: expected 1 to {LARGEST_PALETTE} entries, got {entries}")
        palette = Palette(entries, _numbers(part, "codebook", LEVELS).astype(np.float32), *_files(part, 2))
    return SogMeta(
        count=count,
        antialiased=meta.get("model") == "antialiased",
        mins=_numbers(means, "mins", 3),
        maxs=_numbers(means, "maxs", 3),
        scale_codebook=_numbers(scales, "codebook", LEVELS).astype(np.float32),
        color_codebook=_numbers(sh0, "codebook", LEVELS).astype(np.float32),
        means=_files(means, 2),
        scales=_files(scales, 1),
        quats=_files(quats, 1),
        sh0=_files(sh0, 1),
        degree=degree,
        palette=palette,
    )


def _part(meta: dict[str, Any], name: str) -> dict[str, Any]:
    part = meta.get(name)
    if not isinstance(part, dict):
        raise Malformed(f"{META_NAME}: {name}: expected an object, got {type(part).__name__}")
    return part


def _whole(part: dict[str, Any], name: str) -> int:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(f"{META_NAME}: {name}: expected a whole number, got {str(value)[:40]}")
    return value


def _numbers(part: dict[str, Any], name: str, count: int) -> np.ndarray:
    values = part.get(name)
    is_list = isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)
    try:
        numbers = np.array(values if is_list else [np.nan], dtype=np.float64)
    except OverflowError:  # whole numbers have no largest
        numbers = np.array([np.inf])
    # What float32 cannot hold would turn infinite further on.
    if not (np.abs(numbers) < LARGEST_NUMBER).all():
        raise Malformed(f"{META_NAME}: {name}: expected {count} finite numbers, got {str(values)[:60]}")
    return numbers


def _files(part: dict[str, Any], count: int) -> tuple[str, ...]:
    files = part.get("files")
    if not isinstance(files, list) or len(files) < count or not all(isinstance(name, str) for name in files):
        raise Malformed(f"{META_NAME}: files: expected {count} names, got {str(files)[:60]}")
    for name in files:
        if not name or name.startswith(".") or any(mark in name for mark in "/\\:\0") or len(name) > 200:
            raise Malformed(f"{META_NAME}: files: expected names of files beside {META_NAME}, got {name[:60]!r}")
    return tuple(files[:count])
