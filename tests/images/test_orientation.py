"""Orientation: whatever container says how a picture lies, every reader shows it upright."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.pictures import CONTAINERS, EXACT, array, encode, turned_file, with_segments
from splatlearn.data import PretrainingDataset, RandomResizedCrop, StoredImage, open_source, pack_folder
from splatlearn.images import decode, reduced
from splatlearn.images.reduced import decode_region, decode_resized

UPRIGHT = array(3, 32, 64)


@pytest.fixture(params=["pillow", "simplejpeg"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pillow":
        monkeypatch.setattr(reduced, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return request.param


def check(image: Image.Image, container: str, bound: float = 3.0) -> None:
    """A picture that lies wrongly differs by tens of grey levels; a lossy container by one or two."""
    assert image.size == (64, 32)
    error = np.abs(np.asarray(image, float) - UPRIGHT).mean()
    assert error == 0 if container.startswith(EXACT) else error < bound


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_decoder_shows_it_upright(container: str, orientation: int, decoder: str):
    content = turned_file(container, UPRIGHT, orientation)
    check(decode(content, "whole"), container)
    seen: list[tuple[int, int]] = []

    def whole(width: int, height: int) -> tuple[int, int, int, int]:
        seen.append((width, height))
        return 0, 0, width, height

    region = decode_region(content, "region", whole, 64, 32)
    assert seen == [(64, 32)] and region.size == (64, 32) and region.box == (0, 0, 64, 32)
    check(region.image, container)
    resized = decode_resized(content, "own size", lambda *size: size)
    assert resized.size == (64, 32)
    check(resized.image, container)


@pytest.mark.parametrize("orientation", [3, 5, 6])
@pytest.mark.parametrize("container", CONTAINERS)
def test_crops_and_shrunk_copies_are_those_of_the_upright_picture(container: str, orientation: int, decoder: str):
    upright = Image.fromarray(array(5, 96, 160))
    content = turned_file(container, np.asarray(upright), orientation)
    crop = RandomResizedCrop(16, 24, flip=0.5)
    for seed in range(3):
        pixels, size = crop.of_file(StoredImage(content, "a", None), np.random.default_rng(seed))
        assert size == upright.size
        assert np.abs(pixels.astype(float) - crop(upright, np.random.default_rng(seed))).mean() < 3
    small = decode_resized(content, "a", lambda width, height: (width // 4, height // 4)).image
    expected = np.asarray(upright.resize((40, 24), Image.Resampling.BICUBIC), float)
    assert small.size == (40, 24) and np.abs(np.asarray(small, float) - expected).mean() < 3


@pytest.mark.parametrize("container", ["TIFF", "PNG, XMP", "JPEG, behind 100 KB"])
def test_every_source_and_the_training_set_show_it_upright(container: str, tmp_path: Path, decoder: str):
    ending = container.partition(",")[0].lower()
    for orientation in (1, 6):
        (tmp_path / "folder").mkdir(exist_ok=True)
        content = turned_file(container, UPRIGHT, orientation)
        (tmp_path / "folder" / f"{orientation}.{ending}").write_bytes(content)
    pack_folder(tmp_path / "folder", tmp_path / "shards")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "folder" / f"6.{ending}", f"6.{ending}")
    sources = [
        open_source(tmp_path / "folder"),
        open_source(tmp_path / "shards"),
        open_source(tmp_path / "shards", shuffle_window=2),
        open_source(tmp_path / "a.tar"),
    ]
    for source in sources:
        crops = PretrainingDataset(source, RandomResizedCrop(32, 64, (1, 1), (1, 1), flip=0), 4, 0)
        for index in range(len(source)):
            check(source[index].image, container)
            check(Image.fromarray(crops.example(0, index).image.transpose(1, 2, 0)), container)


@pytest.mark.parametrize("value", [0, 9, 200])
def test_an_orientation_out_of_range_says_nothing(value: int, decoder: str):
    exif = Image.Exif()
    exif[0x0112] = value
    for kind in ("PNG", "JPEG"):
        content = encode(Image.fromarray(UPRIGHT), kind, exif)
        region = decode_region(content, "a", lambda width, height: (0, 0, width, height), 64, 32)
        assert decode(content, "a").size == region.size == region.image.size == (64, 32)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_metadata_say_nothing(decoder: str):
    content = encode(Image.fromarray(UPRIGHT), "JPEG")
    broken = with_segments(content, [(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff")])
    region = decode_region(broken, "a", lambda width, height: (0, 0, width, height), 64, 32)
    assert region.size == (64, 32)
    np.testing.assert_array_equal(np.asarray(region.image), np.asarray(Image.open(io.BytesIO(content))))
