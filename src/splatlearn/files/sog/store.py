"""Where the files of a SOG scene lie: a folder, or a ZIP bundle; and the pixels of its images."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from splatlearn.core.errors import Malformed
from splatlearn.files.sog.meta import LARGEST_META, META_NAME

MOST_PIXELS_BESIDE = 1 << 18
"""An image may have this many pixels more than it needs, and twice those it needs."""
LARGEST_PER_PIXEL = 16
"""Bytes of a file for each of its pixels and those beside, at most."""
MOST_MEMBERS = 64
STREAMED_META = "lod-meta.json"
"""Describes levels of detail, each a scene of its own."""
UNPACKED_IN_STEPS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that are unpacked only as far as asked; of the others a few bytes may fill the memory."""


class Folder:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_meta(self) -> bytes:
        """The content of meta.json; raises Malformed, naming what a folder without one is."""
        if not (self.path / META_NAME).is_file() and (self.path / STREAMED_META).is_file():
            raise Malformed(f"expected a SOG scene with {META_NAME}, got a streamed one with {STREAMED_META}")
        return self.read(META_NAME, LARGEST_META)

    def read(self, name: str, largest: int) -> bytes:
        """The content of a file; raises Malformed where there is none or it has more bytes than `largest`."""
        path = self.path / name
        if not path.is_file():
            raise Malformed(f"{name}: expected a file in the folder, found none")
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise Malformed(f"{name}: expected at most {largest} bytes, got {path.stat().st_size}")
        return content


class Bundle:
    """The members of a ZIP archive, read in memory and never extracted."""

    def __init__(self, data: bytes) -> None:
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise Malformed(f"bundle: {error}") from None
        names = self.archive.namelist()
        if len(names) > MOST_MEMBERS or len(names) != len(set(names)):
            raise Malformed(f"bundle: expected at most {MOST_MEMBERS} members of different names, got {len(names)}")
        if META_NAME not in names:
            found = ", ".join(repr(name[:40]) for name in names[:3])
            raise Malformed(f"expected a SOG bundle with {META_NAME}, got a ZIP archive of {found or 'nothing'}")

    def read_meta(self) -> bytes:
        """The content of meta.json."""
        return self.read(META_NAME, LARGEST_META)

    def read(self, name: str, largest: int) -> bytes:
        """The content of a member; raises as for a folder, and for members that do not unpack."""
        try:
            info = self.archive.getinfo(name)
        except KeyError:
            raise Malformed(f"{name}: expected a member of the bundle, found none") from None
        if info.compress_type not in UNPACKED_IN_STEPS:
            raise Malformed(f"{name}: expected a member that is stored or deflated, got method {info.compress_type}")
        try:
            with self.archive.open(name) as member:
                content = member.read(largest + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
            # RuntimeError is what an encrypted member raises.
            raise Malformed(f"{name}: {error}") from None
        if len(content) > largest:
            raise Malformed(f"{name}: expected at most {largest} bytes, got more")
        return content


SogStore = Folder | Bundle
"""Where the files of a scene are read by name."""


def image_size(store: SogStore, name: str, count: int) -> tuple[int, int]:
    """Width and height of an image that is to have `count` pixels at most; raises as `read_pixels` does."""
    with _opened(store, name, 2 * count + MOST_PIXELS_BESIDE) as image:
        return image.size


def read_pixels(store: SogStore, name: str, count: int, width: int | None = None) -> np.ndarray:
    """The first `count` pixels of an image, row after row, uint8 [count, 4]; `width` where it must have one.

    Raises Malformed for files that are not WebP or PNG with 8-bit RGB or RGBA, and for too few or far too many pixels.
    """
    most = 2 * count + MOST_PIXELS_BESIDE
    with _opened(store, name, most) as image:
        size = image.width * image.height
        if not count <= size <= most or (width is not None and image.width != width):
            wanted = f"{count} to {most} pixels" + ("" if width is None else f" in rows of {width}")
            raise Malformed(f"{name}: expected {wanted}, got {image.width} x {image.height}")
        if image.mode not in ("RGB", "RGBA"):
            raise Malformed(f"{name}: expected RGB or RGBA with 8 bits, got the mode {image.mode}")
        try:
            pixels = np.asarray(image.convert("RGBA"))
        except Exception as error:  # decoders of broken files raise almost anything
            raise Malformed(f"{name}: the image does not decode: {error}") from None
    return pixels.reshape(-1, 4)[:count]


def _opened(store: SogStore, name: str, most: int) -> Image.Image:
    """An image of `most` pixels at most, not yet decoded; raises Malformed."""
    content = store.read(name, LARGEST_PER_PIXEL * most)
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that are checked by the callers.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=("WEBP", "PNG"))
    except Exception as error:  # decoders of broken files raise almost anything
        raise Malformed(f"{name}: not a WebP or PNG image: {error}") from None
