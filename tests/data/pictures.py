"""Image files for the tests of reading data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def array(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """A smooth random RGB picture, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encode(image: Image.Image, kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    """The content of an image file."""
    buffer = io.BytesIO()
    if exif is None:
        image.save(buffer, kind)
    else:
        image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def save(path: Path, seed: int = 0, height: int = 12, width: int = 16) -> None:
    """Write a picture, making the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array(seed, height, width)).save(path)


def truncated_jpeg() -> bytes:
    """A JPEG file that ends amid its pixels."""
    content = encode(Image.fromarray(array(0, 64, 64)), "JPEG")
    return content[: len(content) * 9 // 10]
