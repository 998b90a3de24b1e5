"""The folder of undistorted photographs: found again, bounded, and nobody else's files touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from captures.pictures import noise, saved, smooth, view_of
from splatlearn.captures.lenses import Lens
from splatlearn.captures.photographs import Photographs
from splatlearn.captures.photographs.disk_cache import DiskCache, cache_folder
from splatlearn.captures.photographs.pinholes import Resampling

LENS = Lens("SIMPLE_RADIAL", 64, 48, (60.0, 32.0, 24.0, -0.1))


def pixels_of(folder: Path, cache: Path, lens: Lens = LENS) -> np.ndarray:
    with Photographs([view_of(folder / "a.png", lens)], workers=1, cache=cache) as photographs:
        return photographs[0].pixels.numpy()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    saved(tmp_path / "photos/a.png", smooth(64, 48))
    return tmp_path / "cache"


def refuse(*_: object) -> None:
    raise AssertionError("resampled again")


def test_a_photograph_is_resampled_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels_of(tmp_path / "photos", cache)
    assert len(list(cache.iterdir())) == 1 and os.listdir(tmp_path / "photos") == ["a.png"]
    monkeypatch.setattr(Resampling, "picture", refuse)
    np.testing.assert_array_equal(pixels_of(tmp_path / "photos", cache), first)


def test_other_content_and_other_lenses_have_other_files(tmp_path: Path, cache: Path) -> None:
    first = pixels_of(tmp_path / "photos", cache)
    other = pixels_of(tmp_path / "photos", cache, Lens("SIMPLE_RADIAL", 64, 48, (60.0, 32.0, 24.0, 0.1)))
    assert other.shape != first.shape
    saved(tmp_path / "photos/a.png", noise(64, 48, 1))
    assert (pixels_of(tmp_path / "photos", cache) != first).any()
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_file_is_made_again(tmp_path: Path, cache: Path) -> None:
    first = pixels_of(tmp_path / "photos", cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(pixels_of(tmp_path / "photos", cache), first)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert pixels_of(tmp_path / "photos", cache).size and cache.read_text().startswith("a file")


def test_the_oldest_pictures_make_room_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "holiday.png").write_bytes(bytes(5000))
    disk = DiskCache(folder, limit=30_000)
    keys = [DiskCache.key(str(number)) for number in range(6)]
    for number, key in enumerate(keys[:4]):
        disk.put(key, noise(48, 48, number))  # about 7,000 bytes each
        os.utime(folder / f"{key}.png", (number, number))
    assert disk.get(keys[0]) is not None  # used again
    disk.put(keys[4], noise(48, 48, 4))
    disk.put(keys[5], noise(48, 48, 5))
    there = [disk.get(key) is not None for key in keys]
    assert there[0] and there[5] and not there[1] and (folder / "holiday.png").stat().st_size == 5000
    assert sum(file.stat().st_size for file in folder.glob("?" * 64 + ".png")) <= 30_000


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLATLEARN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "photographs"
    monkeypatch.delenv("SPLATLEARN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "splatlearn/photographs"
