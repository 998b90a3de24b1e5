"""Labelled images: splits, classes by name, and what is said when labels do not do."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from data.pictures import array, encode, save, truncated_jpeg
from splatlearn.data import ImageList, ImageSource
from splatlearn.data.labelled import LabelledImages, labelled_parts, open_labelled, stored_contents
from splatlearn.images import DataError


def png(seed: int) -> bytes:
    return encode(Image.fromarray(array(seed)))


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(datasets.Dataset.from_dict(columns).data.table, path)
    return path


def in_memory(labels: list[int], class_names: list[str] | None = None) -> ImageList:
    return ImageList(
        [array(seed) for seed in range(len(labels))], [str(i) for i in range(len(labels))], labels, class_names
    )


def class_folder(root: Path, **counts: int) -> Path:
    """Pictures root/a/b/N.png for each a__b=count."""
    for name, count in counts.items():
        for number in range(count):
            save(root / name.replace("__", "/") / f"{number}.png", number)
    return root


class TestFolders:
    def test_train_and_val(self, tmp_path: Path):
        data = open_labelled(class_folder(tmp_path, train__dog=2, train__cat=3, val__cat=1, val__dog=1))
        assert data.classes == ("cat", "dog") and data.split == "split val"
        assert isinstance(data.train, ImageSource)
        assert data.train.labels.tolist() == [0, 0, 0, 1, 1] == [data.train[i].label for i in range(5)]
        assert data.val[1].name == "val/dog/0.png"
        np.testing.assert_array_equal(np.asarray(data.train[3].image), array(0))

    def test_test_split_where_there_is_no_val(self, tmp_path: Path):
        data = open_labelled(class_folder(tmp_path, train__dog=1, train__cat=1, test__cat=1, test__dog=1))
        assert data.split == "split test" and len(data.val) == 2

    def test_a_fifth_of_each_class_is_held_out(self, tmp_path: Path):
        folder = class_folder(tmp_path, wren=10, tit=5, owl=2)
        data = open_labelled(folder)
        assert np.bincount(data.val.labels).tolist() == [1, 1, 2]
        assert np.bincount(data.train.labels).tolist() == [1, 4, 8]
        assert data.split == "20% of each class of train, held out"
        both = np.concatenate([data.train.indices, data.val.indices])
        assert sorted(both.tolist()) == list(range(17))
        assert open_labelled(str(folder)).val.indices.tolist() == data.val.indices.tolist()

    def test_corrupt_images_do_not_matter_before_they_are_read(self, tmp_path: Path):
        folder = class_folder(tmp_path, a=2, b=2)
        (folder / "a" / "bad.jpg").write_bytes(truncated_jpeg())
        data = open_labelled(folder)
        assert len(data.train) + len(data.val) == 5
        assert truncated_jpeg() in stored_contents(data.train, range(3)) + stored_contents(data.val, range(2))

    @pytest.mark.parametrize("counts", [{"only": 3}, {"train__only": 2, "val__only": 1}])
    def test_folders_without_classes(self, tmp_path: Path, counts: dict[str, int]):
        with pytest.raises(DataError, match="^data: expected labelled images, got .* two or more class folders"):
            open_labelled(class_folder(tmp_path, **counts))

    def test_plain_folder(self, tmp_path: Path):
        save(tmp_path / "a.png")
        with pytest.raises(DataError, match="without a label; sort a folder's images into"):
            open_labelled(tmp_path)

    def test_class_missing_from_a_part(self, tmp_path: Path):
        folder = class_folder(tmp_path, train__a=1, train__b=1, train__c=1, val__a=1)
        with pytest.raises(DataError, match="^data: expected images of all 3 classes in val, got none of 'b', 'c' in"):
            open_labelled(folder)
        class_folder(tmp_path, val__b=1, val__c=1, val__d=1)
        with pytest.raises(DataError, match="^data: expected images of all 4 classes in train, got none of 'd' in"):
            open_labelled(folder)

    def test_class_of_one_image_cannot_be_split(self, tmp_path: Path):
        with pytest.raises(DataError, match="at least two images of each class so that .*, got 1 of 'b'"):
            open_labelled(class_folder(tmp_path, a=3, b=1))


class TestTables:
    def test_text_labels_are_matched_by_name(self, tmp_path: Path):
        write(tmp_path / "train.parquet", {"image": [png(i) for i in range(4)], "label": ["wren", "owl", "tit", "owl"]})
        write(tmp_path / "val.parquet", {"image": [png(i) for i in range(3)], "label": ["wren", "tit", "owl"]})
        data = open_labelled(tmp_path)
        assert data.classes == ("owl", "tit", "wren")
        assert data.train.labels.tolist() == [2, 0, 1, 0] and data.val.labels.tolist() == [2, 1, 0]

    def test_numbers_with_gaps_and_rows_without_label(self, tmp_path: Path):
        cells: dict[str, list[object]] = {"image": [png(i) for i in range(6)], "label": [7, -1, 30, None, 7, 30]}
        data = open_labelled(write(tmp_path / "t.parquet", cells))
        assert data.classes == ("7", "30")
        assert len(data.train) == len(data.val) == 2
        assert set(data.train.indices.tolist()) | set(data.val.indices.tolist()) == {0, 2, 4, 5}

    def test_named_column(self, tmp_path: Path):
        cells: dict[str, list[object]] = {"image": [png(i) for i in range(4)], "kind": ["x", "y", "y", "x"]}
        path = write(tmp_path / "t.parquet", cells)
        with pytest.raises(DataError, match="name a table's column of labels: label_column"):
            open_labelled(path)
        assert open_labelled(path, label_column="kind").classes == ("x", "y")
        with pytest.raises(DataError, match="^label_column: .* for 'z'"):
            open_labelled(path, label_column="z")

    def test_one_label_and_no_labels(self, tmp_path: Path):
        same = write(tmp_path / "a.parquet", {"image": [png(0)] * 2, "label": ["x", "x"]})
        with pytest.raises(DataError, match="^data: expected at least two classes, got only 'x'"):
            open_labelled(same)
        hidden = write(tmp_path / "b.parquet", {"image": [png(0)] * 2, "label": [-1, -1]})
        with pytest.raises(DataError, match="^data: expected labelled images, got .* without a label"):
            open_labelled(hidden)

    def test_contents_are_the_files(self, tmp_path: Path):
        cells: dict[str, list[object]] = {"image": [png(i) for i in range(4)], "label": [0, 0, 1, 1]}
        data = open_labelled(write(tmp_path / "t.parquet", cells))
        assert data.train.contents(0, 2) == [png(int(i)) for i in data.train.indices]


class TestSources:
    def test_class_names_give_the_order(self):
        data = labelled_parts(in_memory([2, 0, 2], ["z", "unused", "a"]), in_memory([1, 0], ["a", "z"]))
        assert data.classes == ("z", "a")
        assert data.train.labels.tolist() == [1, 0, 1] and data.val.labels.tolist() == [0, 1]
        assert data.train[0].label == 1 and data.split == "a source of its own"

    def test_classes_that_share_a_name_stay_apart(self):
        names = ["crane", "owl", "crane"]
        data = labelled_parts(in_memory([0, 1, 2], names), in_memory([2, 1, 0], names))
        assert data.classes == ("crane (0)", "owl (1)", "crane (2)")
        assert data.val.labels.tolist() == [2, 1, 0]

    def test_label_beyond_the_names(self):
        with pytest.raises(DataError, match="^data: expected labels below 2, the number of class names of .*, got 2"):
            labelled_parts(in_memory([0, 1, 2], ["a", "b"]))

    def test_contents_of_images_in_memory_tell_pixels_and_sizes_apart(self):
        images = [np.zeros((2, 4, 3), np.uint8), np.zeros((4, 2, 3), np.uint8), np.ones((2, 4, 3), np.uint8)]
        assert len(set(stored_contents(ImageList(images, ["a", "b", "c"]), range(3)))) == 3

    def test_part_keeps_labels_and_samples(self):
        images = LabelledImages(in_memory([5, 6, 7]), np.arange(3), np.array([0, 1, 0]), ["x", "y"])
        part = images.part(np.array([2, 1]))
        assert part.labels.tolist() == [0, 1]
        assert [part[i].name for i in range(2)] == ["2", "1"]
        assert part.description == "2 labelled images of 3 images in memory"
