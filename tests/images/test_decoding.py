"""Decoding: every kind of file becomes upright 8-bit RGB, or an error that names it."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from data.pictures import array, encode, truncated_jpeg
from splatlearn.images import UnreadableImage, decode


def test_rgb_from_bytes_and_from_a_path_is_exact_and_loaded(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(array(1)).save(path)
    for image in (decode(path.read_bytes(), "a"), decode(path, "a"), decode(str(path), "a")):
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), array(1))
    path.unlink()
    image.load()  # needs no file any more


def test_greyscale_is_repeated():
    grey = array(2)[:, :, 0]
    image = decode(encode(Image.fromarray(grey)), "grey")
    np.testing.assert_array_equal(np.asarray(image), np.stack([grey] * 3, axis=-1))


def test_bilevel():
    image = decode(encode(Image.fromarray(np.array([[True, False]]))), "bits")
    assert np.asarray(image).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_rather_than_clipped(kind: str):
    values = np.array([[0, 1, 128, 129, 257, 300], [25700, 32896, 65406, 65407, 65534, 65535]], dtype=np.uint16)
    image = decode(encode(Image.fromarray(values), kind), "deep")
    expected = [[0, 0, 0, 1, 1, 1], [100, 128, 254, 255, 255, 255]]
    np.testing.assert_array_equal(np.asarray(image), np.stack([np.array(expected)] * 3, axis=-1))


def test_mode_i_is_scaled_as_sixteen_bits():
    values = np.array([[0, 25700, 65535, 70000]], dtype=np.int32)
    image = decode(encode(Image.fromarray(values), "TIFF"), "integers")
    assert np.asarray(image)[0, :, 0].tolist() == [0, 100, 255, 255]


def test_palette():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    assert np.asarray(decode(encode(palette), "palette")).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_transparent_palette_is_laid_on_white(tmp_path: Path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=0)
    assert np.asarray(decode(tmp_path / "p.png", "p")).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_transparent_colour_of_rgb_is_laid_on_white(tmp_path: Path):
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)).save(tmp_path / "t.png", transparency=(1, 2, 3))
    assert np.asarray(decode(tmp_path / "t.png", "t")).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_rgba_is_laid_on_white():
    alphas = np.array([0, 51, 128, 255])
    pixels = np.zeros((1, 4, 4), dtype=np.uint8)
    pixels[0, :, :3] = [200, 100, 0]
    pixels[0, :, 3] = alphas
    image = np.asarray(decode(encode(Image.fromarray(pixels, "RGBA")), "rgba")).astype(float)
    share = alphas[:, None] / 255
    expected = share * np.array([200, 100, 0]) + (1 - share) * 255
    assert np.abs(image[0] - expected).max() <= 1  # one rounding step of 8-bit compositing


def test_grey_with_alpha_is_laid_on_white():
    pixels = np.array([[[100, 255], [100, 0]]], dtype=np.uint8)
    image = decode(encode(Image.fromarray(pixels, "LA")), "la")
    assert np.asarray(image).tolist() == [[[100] * 3, [255] * 3]]


def test_cmyk_jpeg_keeps_its_colours():
    rgb = np.full((16, 16, 3), (200, 60, 30), dtype=np.uint8)
    image = decode(encode(Image.fromarray(rgb).convert("CMYK"), "JPEG"), "cmyk")
    assert np.abs(np.asarray(image).astype(int) - rgb).max() <= 4  # JPEG quantisation at quality 75


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, kind: str):
    upright = array(3, 16, 32)
    # How the camera stored it: the inverse of the turn that the tag asks for.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif), "turned")
    assert image.size == (32, 16)
    error = np.abs(np.asarray(image).astype(float) - upright)
    assert error.mean() < (6 if kind == "JPEG" else 1e-9)


def test_animations_give_their_first_frame(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(tmp_path / "a.gif", "a")).reshape(-1, 3).tolist() == [[255, 0, 0]] * 16


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not an image in a format that Pillow reads"),
        (truncated_jpeg(), "image file is truncated"),
        (encode(Image.fromarray(array(0)))[:60], "image file is truncated"),
        (encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating-point pixels"),
    ],
)
def test_unreadable_content_is_named_with_the_reason(content: bytes, reason: str):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(content, "birds/7.jpg")
    assert caught.value.name == "birds/7.jpg"
    assert str(caught.value).startswith("birds/7.jpg: unreadable image: ")
    assert "0x" not in caught.value.reason


def test_missing_file(tmp_path: Path):
    with pytest.raises(UnreadableImage, match="gone.jpg: unreadable image: the file does not exist"):
        decode(tmp_path / "gone.jpg", "gone.jpg")


def test_decompression_bomb():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableImage, match="exceeds limit"):
        decode(bomb, "bomb.png")


def test_settings_of_pillow_are_left_alone():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decode(encode(Image.fromarray(array(0))), "a")
    with pytest.raises(UnreadableImage):
        decode(truncated_jpeg(), "b")
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == before


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "broken")))
    assert (error.name, error.reason) == ("a.jpg", "broken")
