"""Folders of splat files: classes, splits, what is left out, what cannot be read, and identities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.splat_sets.sets import CLASSES, splat_list, write_folder
from splatlearn import write_splats
from splatlearn.core.attributes import attributes_of
from splatlearn.data import SplatList, UnreadableSplats, identify, open_labelled_splats, open_splats
from splatlearn.files.formats import ENDINGS as WRITTEN
from splatlearn.images import DataError, left_out_of


def test_splits_and_classes_are_folders(tmp_path: Path) -> None:
    labelled = open_labelled_splats(write_folder(tmp_path))
    assert labelled.classes == tuple(CLASSES) and labelled.split == "split test"
    assert labelled.train.labels.tolist() == labelled.val.labels.tolist() == [0, 0, 0, 1, 1, 1]
    sample = labelled.val[4]
    assert (sample.label, sample.name) == (1, "test/plate/3.ply")
    expected = splat_list(3, seed=1)[3].gaussians
    torch.testing.assert_close(attributes_of(sample.gaussians), attributes_of(expected), atol=1e-5, rtol=1e-4)


def test_without_splits_a_part_of_each_class_is_held_out(tmp_path: Path) -> None:
    write_folder(tmp_path, 5, ("train",))
    labelled = open_labelled_splats(tmp_path / "train")
    assert (len(labelled.train), len(labelled.val)) == (8, 2)
    assert sorted(labelled.val.labels.tolist()) == [0, 1]


@pytest.mark.parametrize("ending", sorted({*WRITTEN} - {"meta.json"}))
def test_every_format_that_is_written_is_read(tmp_path: Path, ending: str) -> None:
    source = splat_list(1)
    write_splats(tmp_path / (f"a{ending}" if ending.startswith(".") else ending), source[0].gaussians)
    found = open_splats(tmp_path)
    assert found[0].gaussians.count == 60 and len(found) == 1


def test_a_folder_of_sog_is_one_set(tmp_path: Path) -> None:
    write_splats(tmp_path / "ball" / "one" / "meta.json", splat_list(1)[0].gaussians)
    found = open_splats(tmp_path)
    assert found.file_names == ["ball/one/meta.json"] and found[0].gaussians.count == 60


def test_other_files_are_counted_and_broken_ones_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train" / "ball" / "notes.txt").write_text("about")
    (tmp_path / "train" / "plate" / "torn.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\n")
    found = open_splats(tmp_path)
    assert "files ending in .txt: 1" in str(left_out_of(found))
    broken = found.file_names.index("train/plate/torn.ply")
    with pytest.raises(UnreadableSplats, match=r"^train/plate/torn.ply: unreadable splat file: "):
        found[broken]


def test_a_file_without_gaussians_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "none.splat").write_bytes(b"")
    with pytest.raises(UnreadableSplats, match=r"none.splat"):
        open_splats(tmp_path)[0]


def test_what_is_no_folder_of_splats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"data: expected splat files in .*, found only files ending in .jpg: 1"):
        open_splats(tmp_path)
    with pytest.raises(DataError, match=r"data: expected a folder of splat files, got .*, which is a file"):
        open_splats(tmp_path / "photo.jpg")
    with pytest.raises(DataError, match=r"which is not there"):
        open_splats(tmp_path / "nothing")


def test_identities_follow_names_and_contents(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 2)
    write_folder(tmp_path / "b", 2)
    first, second = (identify(open_splats(tmp_path / name)) for name in "ab")
    assert first == second
    write_splats(tmp_path / "b" / "train" / "ball" / "0.ply", splat_list(1, seed=9)[0].gaussians)
    assert identify(open_splats(tmp_path / "b")) != first
    assert identify(splat_list(2)) == identify(splat_list(2)) != identify(splat_list(2, seed=1))


def test_lists_that_do_not_fit_are_refused() -> None:
    made = splat_list(1)[0].gaussians
    with pytest.raises(DataError, match="sets: expected at least one set of Gaussians, got an empty list"):
        SplatList([])
    with pytest.raises(DataError, match="labels: expected one for each of 1 sets, got 2"):
        SplatList([made], labels=[0, 1])
    with pytest.raises(DataError, match=r"sets: expected Gaussians \[K\] with K ≥ 1, got means \[1, 60, 3\]"):
        SplatList([made.reshape_batch(1)])
