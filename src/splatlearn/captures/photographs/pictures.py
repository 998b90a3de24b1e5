"""Photographs and masks as arrays of bytes, decoded at the size that is wanted."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.core.errors import InputError
from splatlearn.images.decoding import WITH_ALPHA, decoding, to_rgb, turned

SPARE = 1.9
"""Smallest number of pixels along a side, for each one of the result, of a JPEG file that is decoded at a half, a
quarter or an eighth of its size. The result then differs from the mean of the whole file's pixels by less than one grey
level on average."""
SCALES = (8, 4, 2)
OPAQUE = 255
COUNTS = 128
"""Smallest value of a mask's pixel that counts."""

Size = tuple[int, int]
"""Width and height in pixels."""


def decode_picture(
    content: bytes, name: str, stored: Size, size: Size, orientation: int = 1
) -> UInt8[np.ndarray, "H W C"]:
    """Decode a photograph into RGB, or RGBA if some of it is transparent, and scale it down to `size`.

    - `stored`: width and height that the file must have once it is turned.
    - `orientation`: the EXIF orientation to apply; 1 leaves pixels as they are stored, whatever the metadata say.

    A pixel of the result is about the mean of those that it covers. Raises UnreadableImage, which names the photograph.
    """
    with decoding(name), Image.open(io.BytesIO(_not_empty(content))) as image:
        found = _turned_size(image.size, orientation)
        if found != stored:
            raise InputError(f"expected {stored[0]} x {stored[1]} pixels, as before, got {found[0]} x {found[1]}")
        scale = _scale(image, _turned_size(size, orientation)) if image.format == "JPEG" else 1
        if scale > 1:
            image.draft(None, (image.width // scale, image.height // scale))
        picture = turned(_with_alpha(image), orientation)
        return np.array(_reduced(picture, size))


def decode_mask(content: bytes, name: str, stored: Size, size: Size, orientation: int = 1) -> UInt8[np.ndarray, "H W"]:
    """Decode a mask into 0 (left out) and 255 (counts) at `size`; its own size may be any.

    A pixel of the result counts if all that it covers do. The mask is turned along with a photograph of the same stored
    size. An alpha channel that is not opaque everywhere is the mask. Raises UnreadableImage.
    """
    with decoding(name), Image.open(io.BytesIO(_not_empty(content))) as image:
        if image.mode in WITH_ALPHA or "transparency" in image.info:
            rgba = image.convert("RGBA")
            grey = rgba.getchannel("A") if _is_transparent(rgba) else rgba.convert("L")
        else:
            grey = to_rgb(image).convert("L")
        if _turned_size(grey.size, orientation) == stored:
            grey = turned(grey, orientation)
        whole = grey.point([255 * (value >= COUNTS) for value in range(256)])
        if whole.size != size:
            shrinks = whole.width >= size[0] and whole.height >= size[1]
            whole = whole.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)
        return (np.asarray(whole) == 255).astype(np.uint8) * np.uint8(255)


def _with_alpha(image: Image.Image) -> Image.Image:
    """The image as RGBA if any pixel is transparent, as RGB otherwise."""
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return rgba if _is_transparent(rgba) else rgba.convert("RGB")
    return to_rgb(image)


def _is_transparent(rgba: Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    return bool(np.asarray(rgba.getchannel("A")).min() < OPAQUE)


def _scale(image: Image.Image, size: Size) -> int:
    """The scale at which a JPEG file is decoded: its result is `size` itself, or large enough to be averaged."""
    for scale in SCALES:
        whole = image.width % scale == 0 and image.height % scale == 0  # or the last pixel is a part of one
        exact = whole and (image.width // scale, image.height // scale) == size
        if exact or (whole and image.width >= scale * SPARE * size[0] and image.height >= scale * SPARE * size[1]):
            return scale
    return 1


def _reduced(image: Image.Image, size: Size) -> Image.Image:
    if image.size == size:
        return image
    whole = image.width % size[0] == 0 and image.height % size[1] == 0
    # Pillow's box is the mean for whole ratios only, since it counts pixels by their centres; Hamming's is close to it.
    return image.resize(size, Image.Resampling.BOX if whole else Image.Resampling.HAMMING)


def _turned_size(size: Size, orientation: int) -> Size:
    return size if orientation < 5 else (size[1], size[0])


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise InputError("the file is empty")
    return content
