"""Small pictures and views for tests of captures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from splatlearn.captures.capture import View
from splatlearn.captures.lenses import Lens


def noise(width: int, height: int, seed: int, channels: int = 3) -> np.ndarray:
    """A picture of random bytes, [height, width, channels]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> np.ndarray:
    """A picture without edges, [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    waves = [np.sin(x / 9) * np.cos(y / 13), np.cos(x / 17 + y / 11), np.sin(x / 23 - y / 7)]
    return np.rint(127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def saved(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write a picture and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path, **options)
    return path


def pinhole(width: int, height: int, focal: float | None = None) -> Lens:
    """A lens without distortion that looks through the middle."""
    focal = focal or width
    return Lens.pinhole(width, height, focal, focal, width / 2, height / 2)


def view_of(path: Path, lens: Lens, **options: Any) -> View:
    """A view at the origin."""
    return View(path.name, path, lens, np.eye(4), **options)


def seen_through(lens: Lens, colour: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The picture that a lens makes of a world whose colours, [..., 3] in bytes, are a function of direction."""
    columns, rows = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    rays = lens.unproject(np.stack([columns, rows], axis=-1))
    return np.rint(np.nan_to_num(colour(rays))).astype(np.uint8)
