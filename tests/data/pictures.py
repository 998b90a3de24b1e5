"""Image files for the tests of reading data."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features


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


CONTAINERS = (
    "TIFF", "TIFF, compressed", "TIFF, XMP", "PNG", "PNG, behind the pixels", "PNG, XMP", "WEBP", "WEBP, XMP",
    "JPEG", "JPEG, behind 100 KB", "JPEG, XMP", "MPO", "AVIF",
)  # fmt: skip
"""Where the orientation of an image file may stand: the container, EXIF unless XMP is named, and its place."""
EXACT = ("TIFF", "PNG", "WEBP")
"""Containers that are stored here without loss."""


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores an upright picture [H, W, 3] under an EXIF orientation, by the table of the standard."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    return np.ascontiguousarray(turn(upright))


def turned_file(container: str, upright: np.ndarray, orientation: int) -> bytes:
    """The content of an image file that shows `upright` once its orientation is applied. Skips without AVIF."""
    kind, _, where = container.partition(", ")
    if kind == "AVIF" and not ("avif" in features.modules and features.check("avif")):
        pytest.skip("this Pillow reads no AVIF")
    stored = Image.fromarray(stored_as(upright, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    if kind == "JPEG":
        segments = {
            "": [(0xE1, exif_segment(exif))],
            "behind 100 KB": [(0xE2, bytes(50_000)), (0xFE, bytes(50_000)), (0xE1, exif_segment(exif))],
            "XMP": [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)],
        }[where]
        return with_segments(_saved(stored, "JPEG", quality=95, subsampling=0), segments)
    if container == "PNG, behind the pixels":
        content = _saved(stored, "PNG")
        return content[:-12] + _chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:]
    if container == "PNG, XMP":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return _saved(stored, "PNG", pnginfo=info)
    if container == "TIFF, XMP":
        return _saved(stored, "TIFF", tiffinfo={700: xmp})
    if container == "WEBP, XMP":
        return _saved(stored, "WEBP", lossless=True, xmp=xmp)
    options = {
        "TIFF, compressed": {"compression": "tiff_lzw"},
        "WEBP": {"lossless": True},
        "MPO": {"save_all": True, "append_images": [stored], "quality": 95},
        "AVIF": {"quality": 95},
    }
    return _saved(stored, kind, exif=exif, **options.get(container, {}))


def exif_segment(exif: Image.Exif) -> bytes:
    """The body of a JPEG's segment with EXIF data."""
    body = exif.tobytes()
    return body if body.startswith(b"Exif") else b"Exif\0\0" + body


def with_segments(jpeg: bytes, segments: list[tuple[int, bytes]]) -> bytes:
    """A JPEG file with more segments, (marker, body), behind its first."""
    more = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    first = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:first] + more + jpeg[first:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
