"""Decoding of what a crop needs: large JPEG files at a half, a quarter or an eighth of their size."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from splatlearn.core.errors import InputError
from splatlearn.data.images import TURNED, decoding, orientation, to_rgb

try:
    import simplejpeg
except ImportError:  # an extra; Pillow decodes to the same pixels, more slowly
    simplejpeg = None

SCALES = (8, 4, 2)
SPARE = 2.0
"""Of pixels for each of the target: with 2 a crop is within 0.9 grey levels of that of the whole image on average."""
EXIF = b"Exif\0\0"
MIRRORED_X, MIRRORED_Y = (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations whose upright image has its left, or its upper, edge where the file ends."""
HEADER = 2**16
"""Bytes in which an EXIF segment begins, where there is one."""

Number = int | float
Box = tuple[Number, Number, Number, Number]
"""left, top, right, bottom"""
Choose = Callable[[int, int], Box]
"""From an image's width and height to the box that is wanted of it."""


@dataclass(frozen=True)
class Region:
    """An upright RGB image, perhaps reduced, the box wanted of it in its own pixels, and the full width and height."""

    image: Image.Image
    box: Box
    size: tuple[int, int]


def decode_region(
    file: bytes | str, name: str, choose: Choose, width: int, height: int, spare: float = SPARE
) -> Region:
    """Decode an image file for a box of it that will be resized to width x height pixels.

    - `file`: content or path; `name` is what errors call it.
    - `choose`: draws the box from the size of the upright image.
    - `spare`: pixels of the reduced box for each of the target, at least.

    A JPEG file is decoded at the smallest scale of its DCT that leaves so many pixels of the box on both axes; every
    other file, and a box that is not that large, is decoded as `decode` does it.
    Raises UnreadableImage as `decode` does.
    """
    with decoding(name):
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        if not content:
            raise InputError("the file is empty")
        choose = cache(choose)  # drawn once, even where one decoder gives way to the other
        target = (width * spare, height * spare)
        return _fast(content, choose, *target) or _with_pillow(content, choose, *target)


def _with_pillow(content: bytes, choose: Choose, width: float, height: float) -> Region:
    with Image.open(io.BytesIO(content)) as image:
        turn = orientation(image)
        size = (image.width, image.height) if turn < 5 else (image.height, image.width)
        box = choose(*size)
        scale = _scale(box, width, height) if image.format == "JPEG" else 1
        if scale > 1:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        image.load()
        upright = to_rgb(image)
        upright = upright.transpose(TURNED[turn]) if turn in TURNED else upright
        # A reduced image ends with a pixel that covers less than the others; turned, it may begin with it.
        spare_x = upright.width - size[0] / scale if turn in MIRRORED_X else 0.0
        spare_y = upright.height - size[1] / scale if turn in MIRRORED_Y else 0.0
        return Region(upright, _reduced(box, scale, upright, spare_x, spare_y), size)


def _fast(content: bytes, choose: Choose, width: float, height: float) -> Region | None:
    """The region by libjpeg-turbo without a detour; None for files that it is not for, and for broken ones."""
    if simplejpeg is None or not content.startswith(b"\xff\xd8") or _is_turned(content):
        return None
    try:
        header = simplejpeg.decode_jpeg_header(content)
        rows, columns, colours = int(header[0]), int(header[1]), header[2]
        if colours not in ("YCbCr", "Gray") or rows * columns > (Image.MAX_IMAGE_PIXELS or rows * columns):
            return None
        box = choose(columns, rows)
        scale = _scale(box, width, height)
        least = (-(-rows // scale), -(-columns // scale)) if scale > 1 else (0, 0)
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=least[0], min_width=least[1])
    except ValueError:  # Pillow says what is wrong, or reads it after all
        return None
    image = Image.fromarray(pixels)
    return Region(image, _reduced(box, scale, image), (columns, rows))


def _is_turned(content: bytes) -> bool:
    if content.find(EXIF, 0, HEADER) < 0:
        return False
    with Image.open(io.BytesIO(content)) as image:
        return orientation(image) in TURNED


def _scale(box: Box, width: float, height: float) -> int:
    left, top, right, bottom = box
    room = min((right - left) / width, (bottom - top) / height)
    return next((scale for scale in SCALES if scale <= room), 1)


def _reduced(box: Box, scale: int, image: Image.Image, spare_x: float = 0.0, spare_y: float = 0.0) -> Box:
    if scale == 1:
        return box
    left, top, right, bottom = box
    return (
        left / scale + spare_x,
        top / scale + spare_y,
        min(right / scale + spare_x, image.width),
        min(bottom / scale + spare_y, image.height),
    )
