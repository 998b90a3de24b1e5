"""What tells one set of images from another."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.pictures import save
from splatlearn.data import ImageList, Sample, identify, labelled_parts, open_source, pack_folder


def folder_of(path: Path, count: int = 12) -> Path:
    for index in range(count):
        save(path / ("cat", "dog")[index % 2] / f"{index:02d}.png", seed=index, height=12, width=12)
    return path


def grey(value: int, side: int = 8) -> Image.Image:
    return Image.fromarray(np.full((side, side, 3), value, np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos")


def test_a_folder_is_the_same_wherever_it_lies(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "elsewhere" / "deep")
    here, there = identify(open_source(photos)), identify(open_source(tmp_path / "elsewhere" / "deep"))
    assert here == there and here.samples == 12 and here.fingerprint in str(here)


@pytest.mark.parametrize(
    "change",
    [
        lambda photos: (photos / "cat" / "00.png").unlink(),
        lambda photos: shutil.copy(photos / "cat" / "00.png", photos / "dog" / "99.png"),
        lambda photos: (photos / "cat" / "04.png").rename(photos / "cat" / "05.png"),
        lambda photos: (photos / "cat" / "04.png").rename(photos / "dog" / "04.png"),
        lambda photos: save(photos / "dog" / "07.png", seed=77, height=12, width=12),
    ],
    ids=["fewer", "more", "renamed", "moved", "another picture"],
)
def test_another_folder_is_another(photos: Path, change: Callable[[Path], object]) -> None:
    before = identify(open_source(photos))
    change(photos)
    assert identify(open_source(photos)) != before


def test_every_name_of_a_large_folder_counts(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    grey(1).save(photos / "0000.png")
    for index in range(1, 700):
        (photos / f"{index:04d}.png").hardlink_to(photos / "0000.png")
    before = identify(open_source(photos))
    (photos / "0431.png").rename(photos / "0431a.png")
    after = identify(open_source(photos))
    assert after.samples == before.samples == 700 and after != before


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_are_known_without_reading_a_sample(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def shards(out: Path, source: Path) -> Path:
        if kind == "parquet":
            pack_folder(source, out)
        else:
            out.mkdir()
            with tarfile.open(out / "shard-0.tar", "w") as tar:
                for number, path in enumerate(sorted(source.rglob("*.png"))):
                    tar.add(path, f"{number:04d}.png")
        return out

    one = shards(tmp_path / "one", photos)
    shutil.copytree(one, tmp_path / "two")
    more = shards(tmp_path / "three", folder_of(tmp_path / "more", 14))
    sources = [open_source(path, shuffle_window=8) for path in (one, tmp_path / "two", more)]
    monkeypatch.setattr(type(sources[0]), "_load", None)
    first, copied, other = map(identify, sources)
    assert first == copied != other and (first.samples, other.samples) == (12, 14)


def test_a_table_s_rows_count(photos: Path, tmp_path: Path) -> None:
    for name, source in (("one", photos), ("two", folder_of(tmp_path / "more", 14))):
        pack_folder(source, tmp_path / name)
    first, again, other = (identify(open_source(tmp_path / name)) for name in ("one", "one", "two"))
    assert first == again != other


def test_images_in_memory() -> None:
    def images(*values: int, names: str = "abcd") -> ImageList:
        return ImageList([grey(value) for value in values], list(names))

    assert identify(images(1, 2, 3, 4)) == identify(images(1, 2, 3, 4))
    others = [images(1, 2, 3, 5), images(2, 1, 3, 4), images(1, 2, 3, 4, names="abce")]
    assert len({identify(each) for each in [images(1, 2, 3, 4), *others]}) == 4


def test_a_source_of_one_s_own_needs_nothing_more() -> None:
    class Own:
        description, class_names = "greys", None

        def __init__(self, first: int) -> None:
            self.first = first

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int, /) -> Sample:
            return Sample(grey(self.first + index), f"grey {index}", None)

    assert identify(Own(0)) == identify(Own(0)) != identify(Own(3))


def test_labels_count_where_they_are_learned(photos: Path) -> None:
    parts = labelled_parts(open_source(photos))
    swapped = parts.train.part(np.arange(len(parts.train)))
    assert identify(swapped) == identify(parts.train) != identify(parts.val)
    swapped.labels = 1 - swapped.labels
    assert identify(swapped) != identify(parts.train)


def test_an_unreadable_image_is_no_obstacle(photos: Path) -> None:
    (photos / "cat" / "02.png").write_bytes(b"torn")
    before = identify(open_source(photos))
    assert before == identify(open_source(photos))
