"""Decoding of what a crop or a smaller copy needs: large JPEG files at a half, a quarter or an eighth of their size."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from splatlearn.core.errors import InputError
from splatlearn.images.decoding import decoding, pending_orientation, to_rgb, turned, upright_size

try:
    import simplejpeg
except ImportError:  # an extra; Pillow decodes to the same pixels, more slowly
    simplejpeg = None

SCALES = (8, 4, 2)
SPARE = 2.0
"""Of pixels for each of the target: with 2 a crop is within 0.9 grey levels of that of the whole image on average."""
MIRRORED_X, MIRRORED_Y = (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations whose upright image has its left, or its upper, edge where the file ends."""
APP1, START_OF_SCAN = 0xE1, 0xDA
"""Markers of a JPEG file: the segments that hold EXIF and XMP, and the one that ends the header."""

Number = int | float
Box = tuple[Number, Number, Number, Number]
"""left, top, right, bottom"""
Choose = Callable[[int, int], Box]
"""From an image's width and height to the box that is wanted of it."""
Plan = Callable[[int, int], tuple[Box, float, float]]
"""From an image's width and height to the box, and the width and height in pixels that the box must keep."""
WHOLE_SPARE = 1.9
"""`SPARE` for whole images: 4000 pixels of a camera are a hair less than four times 1024, and half of them must do."""


@dataclass(frozen=True)
class Region:
    """An upright RGB image, perhaps reduced, and the box wanted of it in its own pixels.

    `size`: the full width and height; `frames`: images in the file, of which this is the first, where they are counted.
    """

    image: Image.Image
    box: Box
    size: tuple[int, int]
    frames: int = 1


def decode_region(file: bytes | str, name: str, choose: Choose, width: int, height: int) -> Region:
    """Decode an image file for a box of it that will be resized to width x height pixels.

    - `file`: content or path; `name` is what errors call it.
    - `choose`: draws the box from the size of the upright image.

    A JPEG file is decoded at the smallest scale of its DCT that leaves two pixels of the box for each of the target on
    both axes; every other file, and a box that is not that large, is decoded as `decode` does it.
    Raises UnreadableImage as `decode` does.
    """
    least = (width * SPARE, height * SPARE)
    return _decoded(file, name, lambda *size: (choose(*size), *least))


def decode_resized(file: bytes | str, name: str, target: Callable[[int, int], tuple[int, int]]) -> Region:
    """Decode the whole of an image file and resize it to the width and height that `target` makes of its upright size.

    A JPEG file is decoded at the smallest scale of its DCT that leaves about two pixels for each of the target on both
    axes. Where the target is the image's own size, this is `decode`. Raises UnreadableImage as `decode` does, and for
    an InputError of `target`.
    """
    wanted = cache(target)

    def plan(width: int, height: int) -> tuple[Box, float, float]:
        columns, rows = wanted(width, height)
        return (0, 0, width, height), WHOLE_SPARE * columns, WHOLE_SPARE * rows

    region = _decoded(file, name, plan, count=True)
    image, size = region.image, wanted(*region.size)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, region.box, reducing_gap=3.0)
    return Region(image, (0, 0, *image.size), region.size, region.frames)


def _decoded(file: bytes | str, name: str, plan: Plan, count: bool = False) -> Region:
    with decoding(name):
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        if not content:
            raise InputError("the file is empty")
        plan = cache(plan)  # drawn once, even where one decoder gives way to the other
        return _fast(content, plan) or _with_pillow(content, plan, count)


def _with_pillow(content: bytes, plan: Plan, count: bool) -> Region:
    with Image.open(io.BytesIO(content)) as image:
        orientation = pending_orientation(image)
        size = upright_size(image, orientation)
        box, *least = plan(*size)
        scale = _scale(box, *least) if image.format == "JPEG" else 1
        if scale > 1:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        upright = turned(to_rgb(image), orientation)
        # A reduced image ends with a pixel that covers less than the others; turned, it may begin with it.
        spare_x = upright.width - size[0] / scale if orientation in MIRRORED_X else 0.0
        spare_y = upright.height - size[1] / scale if orientation in MIRRORED_Y else 0.0
        frames = getattr(image, "n_frames", 1) if count else 1  # reads the whole of some files
        return Region(upright, _reduced(box, scale, upright, spare_x, spare_y), size, frames)


def _fast(content: bytes, plan: Plan) -> Region | None:
    """The region by libjpeg-turbo without a detour; None for files that it is not for, and for broken ones."""
    if simplejpeg is None or not content.startswith(b"\xff\xd8") or not _is_plain(content):
        return None
    try:
        header = simplejpeg.decode_jpeg_header(content)
        rows, columns, colours = int(header[0]), int(header[1]), header[2]
        if colours not in ("YCbCr", "Gray") or rows * columns > (Image.MAX_IMAGE_PIXELS or rows * columns):
            return None
        box, *least = plan(columns, rows)
        scale = _scale(box, *least)
        reduced = (-(-rows // scale), -(-columns // scale)) if scale > 1 else (0, 0)
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=reduced[0], min_width=reduced[1])
    except ValueError:  # Pillow says what is wrong, or reads it after all
        return None
    image = Image.fromarray(pixels)
    return Region(image, _reduced(box, scale, image), (columns, rows))


def _is_plain(content: bytes) -> bool:
    """Return whether a JPEG file has one image, which is stored upright; without EXIF and XMP it is."""
    if not _has_metadata(content):
        return True
    with Image.open(io.BytesIO(content)) as image:
        return image.format == "JPEG" and pending_orientation(image) == 1


def _has_metadata(content: bytes) -> bool:
    """Return whether the header of a JPEG file has an APP1 segment, or is too odd to tell."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker in (APP1, 0xFF):  # 0xFF pads a header, which hardly any writer does
            return True
        if marker == START_OF_SCAN:
            return False
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return True


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
