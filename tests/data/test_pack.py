"""Packing of folders: the same bytes in the same order, whole or not at all."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from data.pictures import array, save
from splatlearn.data import PackOptions, StoredSource, open_source, pack, pack_folder
from splatlearn.images import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in two splits of two classes."""
    for seed in range(20):
        save(tmp_path / "in" / ("train" if seed < 16 else "val") / "ab"[seed % 2] / f"{seed}.png", seed)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MEGABYTE", 600)


OPTIONS = PackOptions(shard_size=4, block_size=2)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def stored(data: Path, split: str) -> list[tuple[bytes, int | None]]:
    source = open_source(data, split)
    assert isinstance(source, StoredSource)
    return [(image.content(), image.label) for image in source.stored(range(len(source)))]


def test_every_file_once_with_its_label(folder: Path, tmp_path: Path):
    packed = pack_folder(folder, tmp_path / "out", OPTIONS)
    names = list(shards(tmp_path / "out"))
    assert (packed.images, packed.shards, packed.kept) == (20, len(names), 0)
    count = sum(name.startswith("train") for name in names)
    assert count > 2 and names[0] == f"train-00000-of-{count:05d}.parquet"
    for split in ("train", "val"):
        assert Counter(stored(tmp_path / "out", split)) == Counter(stored(folder, split))
    source = open_source(tmp_path / "out", "val")
    assert source.class_names == ["a", "b"]
    assert "val/" in source[0].name and source[0].name.endswith(".png)")


def test_neighbours_are_of_any_class(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "out", OPTIONS)
    labels = [label for _, label in stored(tmp_path / "out", "train")]
    assert labels != sorted(labels, key=str)


def test_shards_are_what_datasets_reads(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "out", OPTIONS)
    files = [str(path) for path in sorted((tmp_path / "out").glob("val-*"))]
    rows = datasets.load_dataset("parquet", data_files={"val": files}, split="val", streaming=True)
    assert rows.features is not None
    names = rows.features["label"].names
    found = {row["image"].tobytes(): names[row["label"]] for row in rows}
    assert found == {array(seed).tobytes(): "ab"[seed % 2] for seed in range(16, 20)}


def test_the_same_byte_for_byte_and_cut_by_size(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "a", OPTIONS)
    pack_folder(folder, tmp_path / "b", OPTIONS)
    assert shards(tmp_path / "a") == shards(tmp_path / "b")
    for path in sorted((tmp_path / "a").glob("train-*"))[:-1]:
        metadata = pq.read_metadata(path)
        sizes = [len(cell["bytes"].as_py()) for cell in pq.read_table(path)["image"]]
        # A shard and a row group end with the file that fills them.
        assert sum(sizes) >= 2400 > sum(sizes[:-1])
        assert metadata.num_row_groups >= 2


def test_without_classes_there_is_no_label(tmp_path: Path):
    save(tmp_path / "in" / "x.png", 1)
    pack_folder(tmp_path / "in", tmp_path / "out")
    assert pq.read_schema(tmp_path / "out" / "train-00000-of-00001.parquet").names == ["image"]
    np.testing.assert_array_equal(np.asarray(open_source(tmp_path / "out")[0].image), array(1))


def test_an_interrupted_call_is_gone_on_with(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "whole", OPTIONS)
    told: list[tuple[int, int]] = []

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "packing":
            told.append((done, total))
            if done > 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(folder, tmp_path / "out", OPTIONS, interrupt)
    assert told[-1][1] == 20 and told == sorted(told)
    left = shards(tmp_path / "out")
    assert left and left.items() < shards(tmp_path / "whole").items()
    packed = pack_folder(folder, tmp_path / "out", OPTIONS)
    assert packed.kept == len(left)
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_a_leftover_of_a_killed_call_is_replaced(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "out", OPTIONS)
    expected = shards(tmp_path / "out")
    first = tmp_path / "out" / next(iter(expected))
    leftover = first.rename(first.with_name(f".{first.name}.4711.tmp"))
    os.utime(leftover, (0, 0))
    pack_folder(folder, tmp_path / "out", OPTIONS)
    assert shards(tmp_path / "out") == expected
    assert not leftover.exists()


def test_shards_of_other_images_are_left_alone(folder: Path, tmp_path: Path):
    pack_folder(folder, tmp_path / "out", OPTIONS)
    before = shards(tmp_path / "out")
    with pytest.raises(
        DataError, match="^out: expected an empty folder or shards of the same images in .* more; choose"
    ):
        pack_folder(folder, tmp_path / "out")
    save(folder / "train" / "a" / "0.png", 99)
    with pytest.raises(DataError, match="^out: expected an empty folder or shards of the same images"):
        pack_folder(folder, tmp_path / "out", OPTIONS)
    assert shards(tmp_path / "out") == before


def test_a_file_that_changes_or_goes_leaves_no_shard(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(tmp_path / "one" / "x.png", 1)
    plan = pack._plan

    def changing(*arguments: object) -> list:
        planned = plan(*arguments)  # pyright: ignore[reportArgumentType]
        (tmp_path / "one" / "x.png").write_bytes(b"short")
        return planned

    monkeypatch.setattr(pack, "_plan", changing)
    with pytest.raises(DataError, match="^folder: x.png changed while it was packed, from .* to 5 bytes"):
        pack_folder(tmp_path / "one", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_errors_name_the_argument(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="^folder: expected a folder of images, got .*none, which is not there"):
        pack_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="^out: expected a folder outside of"):
        pack_folder(folder, folder / "out")
    pack_folder(folder, tmp_path / "out")
    with pytest.raises(DataError, match="^folder: expected a folder of images, got parquet files"):
        pack_folder(tmp_path / "out", tmp_path / "more")
    with pytest.raises(ValueError, match="^shard_size: expected a positive number of megabytes, got 0"):
        PackOptions(shard_size=0)
    with pytest.raises(ValueError, match=r"^block_size: expected megabytes in \[1, 2\], the size of a shard, got 3"):
        PackOptions(shard_size=2, block_size=3)


def test_progress_tells_of_sizes_and_of_packing(folder: Path, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    packed = pack_folder(folder, tmp_path / "out", progress=lambda *each: told.append(each))
    planned = [each for each in told if each[0].startswith("sizes of ")]
    assert sum(done == of for _, done, of in planned) == len({what for what, _, _ in planned}) >= 1
    assert sum(of for _, done, of in planned if done == of) == packed.images
    assert told[-1] == ("packing", packed.images, packed.images)
