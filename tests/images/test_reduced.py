"""Crops of large JPEG files: near those of the whole image, and the same with either decoder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.pictures import array, encode, truncated_jpeg
from splatlearn.data import RandomResizedCrop, StoredImage, sample_photos
from splatlearn.images import UnreadableImage, decode, reduced
from splatlearn.images.reduced import decode_region


@pytest.fixture(params=["pillow", "simplejpeg"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pillow":
        monkeypatch.setattr(reduced, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return request.param


def jpeg(image: Image.Image, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def photo(name: str) -> Image.Image:
    return Image.fromarray(next(each.array for each in sample_photos() if each.name == name))


def both(content: bytes, crop: RandomResizedCrop, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop of a file, and that of the whole image decoded before."""
    pixels, size = crop.of_file(StoredImage(content, "a.jpg", None), np.random.default_rng(seed))
    whole = decode(content, "a.jpg")
    assert size == whole.size
    return pixels.astype(float), crop(whole, np.random.default_rng(seed)).astype(float)


@pytest.mark.parametrize("name", ["china", "coffee", "astronaut"])
@pytest.mark.parametrize("target", [16, 32, 64])
def test_crops_of_photographs_are_nearly_equal(name: str, target: int, decoder: str):
    content = jpeg(photo(name))
    crop = RandomResizedCrop(target, target)
    for seed in range(5):
        pixels, expected = both(content, crop, seed)
        error = np.abs(pixels - expected)
        assert error.mean() < 1.2
        assert 10 * np.log10(255**2 / max((error**2).mean(), 1e-9)) > 40


@pytest.mark.parametrize("side", [48, 96, 192, 384])
def test_the_scale_leaves_two_pixels_for_one(side: int, decoder: str):
    content = jpeg(photo("astronaut"))
    region = decode_region(content, "a", lambda width, height: (100, 60, 100 + side, 60 + side), 24, 24)
    scale = side // 48
    assert region.size == (512, 512)
    assert region.image.size == (512 // scale, 512 // scale)
    assert region.box == (100 / scale, 60 / scale, (100 + side) / scale, (60 + side) / scale)


def test_small_boxes_and_other_formats_are_exact(decoder: str):
    for content in (jpeg(photo("coffee").crop((0, 0, 60, 50))), encode(photo("coffee"), "PNG")):
        for seed in range(3):
            pixels, expected = both(content, RandomResizedCrop(32, 32), seed)
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images(orientation: int, decoder: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(photo("china"), "JPEG", exif)
    pixels, expected = both(content, RandomResizedCrop(24, 40), orientation)
    assert np.abs(pixels - expected).mean() < 1.5


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_modes_and_progressive_files(mode: str, decoder: str):
    for progressive in (False, True):
        content = jpeg(photo("coffee").convert(mode), progressive=progressive)
        pixels, expected = both(content, RandomResizedCrop(24, 24), 1)
        assert np.abs(pixels - expected).mean() < 1.2


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (301, 9), (257, 131)])
def test_odd_sizes(size: tuple[int, int], decoder: str):
    content = jpeg(photo("china").resize(size))
    for seed in range(3):
        pixels, expected = both(content, RandomResizedCrop(4, 4), seed)
        assert np.abs(pixels - expected).mean() < 4


def test_decoders_agree_to_the_bit(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("simplejpeg")
    contents = [jpeg(photo("china")), jpeg(photo("coffee").convert("L")), jpeg(Image.fromarray(array(3, 37, 90)))]
    for target in (3, 16, 64):
        crop = RandomResizedCrop(target, target)
        for content in contents:
            stored = StoredImage(content, "a", None)
            fast = crop.of_file(stored, np.random.default_rng(2))[0]
            with monkeypatch.context() as without:
                without.setattr(reduced, "simplejpeg", None)
                np.testing.assert_array_equal(fast, crop.of_file(stored, np.random.default_rng(2))[0])


def test_a_path_is_read_as_its_content(tmp_path: Path, decoder: str):
    (tmp_path / "a.jpg").write_bytes(jpeg(photo("coffee")))
    crop = RandomResizedCrop(16, 16)
    of_path = crop.of_file(StoredImage(str(tmp_path / "a.jpg"), "a", None), np.random.default_rng(0))[0]
    np.testing.assert_array_equal(of_path, both(jpeg(photo("coffee")), crop, 0)[0])


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (None, "the row holds no image"),
        (b"", "the file is empty"),
        (b"\xff\xd8\xff", "not an image in a format that Pillow reads"),
        (b"text", "not an image in a format that Pillow reads"),
        (truncated_jpeg(), "image file is truncated"),
        ("/no/such.jpg", "the file does not exist"),
    ],
)
def test_unreadable_files(file: bytes | str | None, reason: str, decoder: str):
    with pytest.raises(UnreadableImage, match=f"^a.jpg: unreadable image: {reason}"):
        RandomResizedCrop(8, 8).of_file(StoredImage(file, "a.jpg", None), np.random.default_rng(0))


def test_a_decoder_that_fails_leaves_the_draws_alone(monkeypatch: pytest.MonkeyPatch):
    simplejpeg = pytest.importorskip("simplejpeg")
    content, crop = jpeg(photo("coffee")), RandomResizedCrop(16, 16)
    expected = both(content, crop, 3)[0]

    def failing(*arguments: object, **options: object) -> np.ndarray:
        raise ValueError("not this one")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", failing)
    np.testing.assert_array_equal(both(content, crop, 3)[0], expected)
