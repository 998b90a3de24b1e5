"""Headers of photographs: the size, whether there is an alpha channel, and the EXIF orientation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from splatlearn.images.decoding import JPEG_FORMATS, ORIENTATION_TAG, TURNED, WITH_ALPHA, decoding

SPARE = 1.5
"""Pixels by which a side may differ from the one that the other side implies: sizes of reduced pictures are rounded."""


@dataclass(frozen=True)
class Header:
    """`width` and `height` as pixels are stored, and the EXIF orientation, 1 for none."""

    width: int
    height: int
    has_alpha: bool = False
    orientation: int = 1


def read_header(path: Path, name: str) -> Header:
    """Read the header of a photograph; no pixels are decoded. Raises UnreadableImage."""
    with decoding(name), Image.open(path) as image:
        alpha = image.mode in WITH_ALPHA or "transparency" in image.info
        # Pillow turns TIFF files itself, and would decode the whole of some others to find what few of them have.
        stated = image.format in JPEG_FORMATS or (image.format != "TIFF" and "exif" in image.info)
        found = image.getexif().get(ORIENTATION_TAG) if stated else 1
        turn = int(found) if isinstance(found, int) and found in TURNED else 1
        return Header(image.width, image.height, alpha, turn)


def fitted(header: Header, width: int, height: int) -> tuple[int, int, int] | None:
    """Return width, height and orientation of a photograph for a camera of `width` x `height` pixels.

    Pixels count as they are stored, for the tools that make cameras ignore the orientation. It is applied only where
    the turned picture has the camera's shape and the stored one has not. None where neither has it.
    """
    stored = (header.width, header.height, 1)
    turned = (header.height, header.width, header.orientation)
    ways = (stored, turned) if header.orientation >= 5 else (stored,)
    exact = [each for each in ways if each[:2] == (width, height)]
    close = [each for each in ways if similar(each[:2], (width, height))]
    return next(iter(exact + close), None)


def similar(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes (width, height) have the same shape, up to the rounding of the smaller one."""
    (width, height), (columns, rows) = sorted((size, other))
    across, down = width / columns, height / rows
    return (
        abs(width - columns * down) <= SPARE * max(1.0, columns / rows)
        and abs(height - rows * across) <= SPARE * max(1.0, rows / columns)
        and max(across, down) <= 1.0 + SPARE / min(columns, rows)
    )
