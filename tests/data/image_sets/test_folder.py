"""Folders: what counts as an image, a split and a class, and in which order files come."""

from __future__ import annotations

from pathlib import Path

import pytest

from splatlearn.data.image_sets.folder import list_folder
from splatlearn.images import DataError


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_files_come_in_order_of_their_names(tmp_path: Path):
    files = ["b.jpg", "a/10.png", "B.JPG", "a/9.png", "a.jpeg", "é.webp", "a [1].tif"]
    listing = list_folder(touch(tmp_path, *files))
    assert listing.splits == {"train": sorted(files)}
    assert listing.kind == "images"


def test_sub_folders_with_names_of_splits_are_splits(tmp_path: Path):
    listing = list_folder(touch(tmp_path, "train/x/1.jpg", "train/y/2.jpg", "Validation/z/3.jpg", "extra/4.jpg"))
    assert listing.splits == {"train": ["train/x/1.jpg", "train/y/2.jpg"], "val": ["Validation/z/3.jpg"]}
    # Classes are those of all splits, so that a number means the same class in each.
    assert listing.classes() == ["x", "y", "z"]
    assert listing.class_of("train/y/2.jpg") == "y"
    assert [listing.split(name) for name in ("train", "val", "valid", "validation")] == ["train", "val", "val", "val"]


def test_files_beside_the_splits_are_counted(tmp_path: Path):
    listing = list_folder(touch(tmp_path, "train/x/1.jpg", "val/x/2.jpg", "all/3.jpg", "4.jpg"))
    assert str(listing.left_out) == "files beside the folders of the splits, train, val: 2, such as 4.jpg"
    assert not list_folder(tmp_path / "train").left_out


def test_a_class_may_be_called_like_a_split(tmp_path: Path):
    listing = list_folder(touch(tmp_path, "car/1.jpg", "bus/2.jpg", "train/3.jpg"))
    assert list(listing.splits) == ["train"]
    assert listing.classes() == ["bus", "car", "train"]


def test_names_of_files_make_no_split_of_images(tmp_path: Path):
    listing = list_folder(touch(tmp_path, "test_1.jpg", "train-2.jpg", "cat.jpg"))
    assert listing.splits == {"train": ["cat.jpg", "test_1.jpg", "train-2.jpg"]}


@pytest.mark.parametrize("files", [["1.jpg", "2.jpg"], ["x/1.jpg", "x/2.jpg"], ["x/1.jpg", "y/2.jpg", "3.jpg"]])
def test_no_classes_unless_all_images_lie_in_several_folders(tmp_path: Path, files: list[str]):
    assert list_folder(touch(tmp_path, *files)).classes() is None


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], ["test", "train"]),
        (["train/0.parquet", "val/0.parquet"], ["train", "val"]),
        (["part-0.parquet", "part-1.parquet"], ["train"]),
        (["validation.parquet"], ["val"]),
    ],
)
def test_splits_of_parquet_folders(tmp_path: Path, files: list[str], splits: list[str]):
    listing = list_folder(touch(tmp_path, *files))
    assert listing.kind == "parquet"
    assert sorted(listing.splits) == splits
    assert sorted(file for names in listing.splits.values() for file in names) == sorted(files)


def test_empty_folder(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"^data: expected images or parquet or tar files in .*, it is empty; files are read"
    ):
        list_folder(tmp_path)


def test_folder_without_images_says_what_is_read_and_what_was_found(tmp_path: Path):
    touch(tmp_path, "a.txt", "b.mp4", "c/d.csv", "e.md")
    with pytest.raises(
        DataError,
        match=r"found only files ending in .txt: 1, such as a.txt; .*; files .* \.parquet \.tar or \.jpg \.jpeg",
    ):
        list_folder(tmp_path)


def test_images_beside_parquet_files(tmp_path: Path):
    with pytest.raises(DataError, match=r"got 1 images \(a.jpg, ...\) and 1 parquet files .* name the sub-folder"):
        list_folder(touch(tmp_path, "a.jpg", "b.parquet"))


def test_unknown_split_lists_those_there_are(tmp_path: Path):
    listing = list_folder(touch(tmp_path, "train/1.jpg", "val/2.jpg"))
    with pytest.raises(DataError, match=r"^split: expected one of \['train', 'val'\] in .*, got 'test'"):
        listing.split("test")
    with pytest.raises(DataError, match=r"no sub-folders train, val or test, so that all images are 'train'"):
        list_folder(tmp_path / "val").split("val")
