"""Depth maps of files as numbers of world units, at the size of a photograph; nothing is interpolated."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float32
from PIL import Image

from splatlearn.captures.photographs.pictures import Size
from splatlearn.core.errors import InputError
from splatlearn.images.decoding import decoding, turned

NOTHING = 65535
"""Value that some depth cameras store, besides 0, where they have no depth."""
GREY = ("I;16", "I;16L", "I;16B", "I", "L")
"""Pillow's modes of pictures whose pixels are whole numbers."""
MOST = 1 << 28
"""Largest number of values in a NumPy file."""


def decode_depth(
    content: bytes, name: str, unit: float, stored: Size, size: Size, orientation: int = 1
) -> Float32[np.ndarray, "H W"]:
    """Decode a depth map: a grey picture of 8, 16 or 32 bits, or a NumPy file of numbers, of any size.

    - `unit`: world units of a step of 1.
    - `stored`: width and height of the photograph once it is turned, along with which the map is turned unless it
      stands upright already.
    - `size`: width and height of the result, whose pixels have the value of the map's pixel at their middle.
    - `orientation`: EXIF's, of the photograph.

    Returns depths in world units, 0 where there is none: 0, 65535, negative and not finite numbers. Raises
    UnreadableImage, which names the map.
    """
    with decoding(name):
        values = _numbers(content)
        height, width = values.shape
        # A map that lies on its side was stored as the sensor reads, and so was its photograph.
        is_upright = width != height and (width > height) == (stored[0] > stored[1])
        if 1 < orientation < 5 or (orientation >= 5 and not is_upright):
            values = np.asarray(turned(Image.fromarray(values), orientation))
            height, width = values.shape
        rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(np.int64)
        columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(np.int64)
        found = values[rows[:, None], columns]
        return np.where(np.isfinite(found) & (found > 0), found * np.float32(unit), 0).astype(np.float32)


def _numbers(content: bytes) -> Float32[np.ndarray, "h w"]:
    """The values of a file, NaN where the sensor saw nothing."""
    if not content:
        raise InputError("the file is empty")
    if content.startswith(b"\x93NUMPY"):
        values = np.load(io.BytesIO(content), allow_pickle=False)
        if values.ndim == 3 and values.shape[-1] == 1:
            values = values[..., 0]
        if values.ndim != 2 or not 0 < values.size <= MOST or values.dtype.kind not in "fiu":
            raise InputError(f"expected numbers [H, W], got {values.dtype} of shape {list(values.shape)}")
        return values.astype(np.float32)
    with Image.open(io.BytesIO(content)) as image:
        if image.mode not in GREY:
            raise InputError(f"expected a grey picture whose pixels are depths, got one of mode {image.mode}")
        values = np.asarray(image).astype(np.float32)
    return np.where(values == NOTHING, np.float32(np.nan), values)
