"""Decoding of image files into 8-bit RGB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

import numpy as np
from PIL import Image, UnidentifiedImageError

from splatlearn.core.errors import InputError
from splatlearn.images.errors import UnreadableImage
from splatlearn.images.left_out import FOREIGN

ORIENTATION_TAG = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG_FORMATS = ("JPEG", "MPO")
"""Pillow's names of formats whose metadata come before the pixels."""
WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def decode(source: bytes | str | PathLike[str], name: str) -> Image.Image:
    """Decode the content or the path of an image file into an upright RGB image, fully loaded.

    Transparent images are laid on white, 16-bit greyscale is scaled to 8 bits, the orientation that the file's metadata
    give is applied once, and animations give their first frame. `name` is what errors call the image.

    Raises UnreadableImage for missing, empty, truncated, oversized and foreign files.
    """
    if isinstance(source, bytes) and not source:
        raise UnreadableImage(name, "the file is empty")
    with decoding(name), Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return turned(to_rgb(image), pending_orientation(image))


def decode_stored(path: str | PathLike[str], name: str) -> Image.Image:
    """Decode an image file into an upright image of the mode that the file stores, such as "L", "I;16" or "P".

    This serves files whose pixels are numbers, such as masks; `decode` serves pictures. `name` is what errors call the
    image. Raises UnreadableImage as `decode` does.
    """
    with decoding(name), Image.open(path) as image:
        image.load()
        return turned(image, pending_orientation(image)).copy()


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into UnreadableImage of that name."""
    try:
        yield
    except UnidentifiedImageError:
        convert = "; convert it to JPEG or PNG" if name.lower().endswith(FOREIGN) else ""
        raise UnreadableImage(name, f"not an image in a format that Pillow reads{convert}") from None
    except FileNotFoundError:
        raise UnreadableImage(name, "the file does not exist") from None
    except Exception as error:  # decoders of broken files raise almost anything
        raise UnreadableImage(name, str(error) or type(error).__name__) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any Pillow mode into 8-bit RGB; transparency is laid on white.

    16-bit greyscale ("I;16" and "I") is divided by 257, so that 65535 becomes 255. Raises InputError for mode "F",
    whose range is not defined.
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise InputError("floating-point pixels have no defined range; store the image with 8 or 16 bits")
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    # Always a copy, so that the result does not depend on the open file.
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def pending_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, that is still to be applied to the pixels of an opened image file.

    This is the only place that decides how an image lies. EXIF comes before XMP, in whatever container Pillow finds
    them; metadata that are broken or out of range say nothing. Pillow itself turns TIFF files when it loads them, so
    that 1 is left. All but JPEG files are loaded here, because their metadata may follow the pixels.
    """
    if image.format not in JPEG_FORMATS:
        image.load()
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # broken metadata say nothing about the pixels
        return 1
    return int(found) if isinstance(found, int) and found in TURNED else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return pixels as stored, turned and mirrored as an EXIF orientation asks for; 1 returns the image itself."""
    return image if orientation == 1 else image.transpose(TURNED[orientation])


def upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Return width and height of an opened image file after `turned` by its pending orientation."""
    return image.size if orientation < 5 else (image.height, image.width)
