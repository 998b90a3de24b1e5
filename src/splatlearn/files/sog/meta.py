"""The meta.json of SOG, versions 1 and 2: what it must say, and what it says.

Version 2 gives bytes their numbers by codebooks; version 1, which has no number of its own, by a smallest and a largest
number of each channel. Both become tables here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.files.errors import check_count
from splatlearn.files.stored import sigmoids

META_NAME = "meta.json"
LARGEST_META = 1 << 20
LEVELS = 256
PALETTE_COLUMNS = 64
LARGEST_PALETTE = 65536
LARGEST_NUMBER = 1e38
LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class Palette:
    """Harmonics above degree 0: `count` entries in the image `centroids`, through a codebook [256] of numbers.

    `degree` and `count` are None in the first files of the version, where the size of the image says both.
    """

    degree: int | None
    count: int | None
    codebook: np.ndarray
    centroids: str
    labels: str


@dataclass(frozen=True, eq=False)
class SogMeta:
    """A parsed description; `means`, `scales`, `quats` and `sh0` are names of images.

    - `scale_tables`, `color_tables` [3, 256]: numbers of the bytes of a channel; `opacity_table` [256]; float32.
    - `generator`: the program that wrote the scene.
    """

    count: int
    antialiased: bool
    generator: str | None
    mins: np.ndarray
    maxs: np.ndarray
    scale_tables: np.ndarray
    color_tables: np.ndarray
    opacity_table: np.ndarray
    means: tuple[str, ...]
    scales: tuple[str, ...]
    quats: tuple[str, ...]
    sh0: tuple[str, ...]
    palette: Palette | None


def parse_meta(text: bytes, limit: int) -> SogMeta:
    """Parse a description; raises Malformed naming the field that is missing or of another kind."""
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{META_NAME}: expected JSON, got {type(error).__name__}: {str(error)[:100]}") from None
    if not isinstance(meta, dict):
        raise Malformed(f"{META_NAME}: expected an object, got {type(meta).__name__}")
    means, scales, quats, sh0 = (_part(meta, name) for name in ("means", "scales", "quats", "sh0"))
    is_first = "version" not in meta and "shape" in means
    if not is_first and meta.get("version") != 2:
        named = f"version {str(meta['version'])[:20]}" if "version" in meta else f"a {META_NAME} without a version"
        raise Malformed(f"expected SOG of version 1 or 2, got {named}")
    count = _first_count(means) if is_first else _whole(meta, "count")
    check_count(count, limit)
    scale_tables, color_tables, opacity_table = _ramps(scales, sh0) if is_first else _codebooks(scales, sh0)
    return SogMeta(
        count=count,
        antialiased=meta.get("model") == "antialiased" or meta.get("antialias") is True,
        generator=_generator(meta.get("asset")),
        mins=_numbers(means, "mins", 3),
        maxs=_numbers(means, "maxs", 3),
        scale_tables=scale_tables,
        color_tables=color_tables,
        opacity_table=opacity_table,
        means=_files(means, 2),
        scales=_files(scales, 1),
        quats=_files(quats, 1),
        sh0=_files(sh0, 1),
        palette=_palette(_part(meta, "shN"), is_first) if meta.get("shN") is not None else None,
    )


def _first_count(means: dict[str, Any]) -> int:
    """The number of Gaussians of version 1: the first number of the shape of positions."""
    shape = means.get("shape")
    if not isinstance(shape, list) or len(shape) != 2:
        raise Malformed(f"{META_NAME}: shape: expected two numbers, got {str(shape)[:60]}")
    return _whole({"shape": shape[0]}, "shape")


def _codebooks(scales: dict[str, Any], sh0: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables of version 2: all channels share a codebook, opacities are shares of 255."""
    tables = [np.tile(_numbers(part, "codebook", LEVELS).astype(np.float32), (3, 1)) for part in (scales, sh0)]
    return tables[0], tables[1], np.arange(LEVELS, dtype=np.float32) / np.float32(LEVELS - 1)


def _ramps(scales: dict[str, Any], sh0: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables of version 1: each channel goes evenly from a smallest to a largest number; opacities are logits."""

    def ramp(part: dict[str, Any], channels: int) -> np.ndarray:
        lowest, highest = _numbers(part, "mins", channels), _numbers(part, "maxs", channels)
        return np.linspace(lowest, highest, LEVELS, axis=1).astype(np.float32)

    colors = ramp(sh0, 4)
    return ramp(scales, 3), colors[:3], sigmoids(colors[3])


def _generator(asset: object) -> str | None:
    """The program that wrote the scene, which nothing depends on: whatever is no name is none."""
    generator = asset.get("generator") if isinstance(asset, dict) else None
    return generator[:LONGEST_NAME] or None if isinstance(generator, str) else None


def _palette(part: dict[str, Any], is_first: bool) -> Palette:
    if is_first:
        lowest, highest = (_numbers({name: [part.get(name)]}, name, 1)[0] for name in ("mins", "maxs"))
        return Palette(None, None, np.linspace(lowest, highest, LEVELS).astype(np.float32), *_files(part, 2))
    degree = _whole(part, "bands") if part.get("bands") is not None else None
    if degree is not None and not 1 <= degree <= 3:
        raise Malformed(f"{META_NAME}: bands: expected 1, 2 or 3, got {degree}")
    entries = _whole(part, "count") if part.get("count") is not None else None
    if entries is not None and not 1 <= entries <= LARGEST_PALETTE:
        raise Malformed(f"{META_NAME}: shN: expected 1 to {LARGEST_PALETTE} entries, got {entries}")
    return Palette(degree, entries, _numbers(part, "codebook", LEVELS).astype(np.float32), *_files(part, 2))


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
        if not name or name.startswith(".") or any(mark in name for mark in "/\\:\0") or len(name) > LONGEST_NAME:
            raise Malformed(f"{META_NAME}: files: expected names of files beside {META_NAME}, got {name[:60]!r}")
    return tuple(files[:count])
