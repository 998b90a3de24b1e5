"""Opening of folders, parquet files and Hub names."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from data.pictures import array, encode, save, truncated_jpeg
from splatlearn.data import ImageSource, StoredSource, open_source
from splatlearn.data.image_sets.table import DatasetSource
from splatlearn.images import DataError, UnreadableImage


def pixels(source: ImageSource, index: int) -> np.ndarray:
    return np.asarray(source[index].image)


def png(seed: int) -> bytes:
    return encode(Image.fromarray(array(seed)))


def write(path: Path, columns: dict[str, list[object]], features: datasets.Features | None = None) -> Path:
    """Write a parquet file, without the progress bar of `datasets`."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(datasets.Dataset.from_dict(columns, features=features).data.table, path)
    return path


class TestFolders:
    def test_plain_folder(self, tmp_path: Path):
        for seed, name in enumerate(["a.png", "b [1].png", "c/d.png"]):
            save(tmp_path / name, seed)
        source = open_source(tmp_path)
        assert isinstance(source, ImageSource)
        assert [source[index].name for index in range(len(source))] == ["a.png", "b [1].png", "c/d.png"]
        for index in range(3):
            np.testing.assert_array_equal(pixels(source, index), array(index))
        assert source.class_names is None and source[0].label is None
        assert source.description == f"3 images in {tmp_path}"

    def test_class_folders_and_splits(self, tmp_path: Path):
        for seed, name in enumerate(["train/cat/1.png", "train/dog/2.png", "val/dog/3.png"]):
            save(tmp_path / name, seed)
        train, val = open_source(str(tmp_path)), open_source(str(tmp_path), split="validation")
        assert train.class_names == val.class_names == ["cat", "dog"]
        assert [train[0].label, train[1].label, val[0].label] == [0, 1, 1]
        assert val[0].name == "val/dog/3.png"
        assert val.description.endswith(", split val")

    def test_nothing_is_written_into_the_folder_nor_to_the_terminal(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ):
        save(tmp_path / "images" / "a.png")
        write(tmp_path / "tables" / "a.parquet", {"img": [png(0)]})
        before = sorted(tmp_path.rglob("*"))
        assert len(open_source(tmp_path / "images")) == len(open_source(tmp_path / "tables")) == 1
        assert sorted(tmp_path.rglob("*")) == before
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")
        assert not datasets.are_progress_bars_disabled()  # the caller's choice is put back

    def test_broken_file_among_good_ones_is_named_relative_to_the_folder(self, tmp_path: Path):
        save(tmp_path / "x" / "a.jpg")
        (tmp_path / "x" / "b.jpg").write_bytes(truncated_jpeg())
        source = open_source(tmp_path)
        assert source[0].image.size == (16, 12)
        with pytest.raises(UnreadableImage, match="^x/b.jpg: unreadable image: image file is truncated"):
            source[1]

    def test_survives_pickling(self, tmp_path: Path):
        save(tmp_path / "a.png", 4)
        source = pickle.loads(pickle.dumps(open_source(tmp_path)))
        np.testing.assert_array_equal(pixels(source, 0), array(4))

    def test_a_changed_folder_is_read_anew(self, tmp_path: Path):
        save(tmp_path / "a.png", 1)
        assert len(open_source(tmp_path)) == 1
        save(tmp_path / "b.png", 2)
        assert len(open_source(tmp_path)) == 2


class TestTables:
    def test_image_feature_and_class_labels(self, tmp_path: Path):
        features = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y"])})
        cells: list[object] = [{"bytes": png(0), "path": "a.png"}, {"bytes": png(1), "path": None}]
        source = open_source(write(tmp_path / "t.parquet", {"photo": cells, "kind": [1, 0]}, features))
        np.testing.assert_array_equal(pixels(source, 1), array(1))
        assert source.class_names == ["x", "y"]
        assert [source[0].label, source[1].label] == [1, 0]
        assert [source[0].name, source[1].name] == ["row 0 (a.png)", "row 1"]

    def test_bytes_under_a_usual_name_and_whole_number_labels(self, tmp_path: Path):
        path = write(tmp_path / "a [b].parquet", {"other": [b"1"] * 3, "jpg": [png(3)] * 3, "label": [5, -1, None]})
        source = open_source(path)
        np.testing.assert_array_equal(pixels(source, 0), array(3))
        assert [source[index].label for index in range(3)] == [5, None, None]
        assert source.class_names is None

    def test_dictionaries_and_text_labels(self, tmp_path: Path):
        cells: list[object] = [{"bytes": png(0), "path": "a"}] * 3
        path = write(tmp_path / "t.parquet", {"thing": cells, "species": ["wren", "tit", None]})
        assert open_source(path).class_names is None
        source = open_source(path, label_column="species")
        assert source.class_names == ["tit", "wren"]
        assert [source[index].label for index in range(3)] == [1, 0, None]

    def test_files_and_labels_are_had_without_decoding(self, tmp_path: Path):
        cells: dict[str, list[object]] = {"image": [png(0), None, b"no image"], "label": [2, -1, 0]}
        source = open_source(write(tmp_path / "t.parquet", cells))
        assert isinstance(source, DatasetSource) and isinstance(source, StoredSource)
        assert source.labels == [2, None, 0]
        assert [stored.content() for stored in source.stored([2, 0, 1])] == [b"no image", png(0), b""]
        assert [(stored.name, stored.label) for stored in source.stored([0, 1])] == [("row 0", 2), ("row 1", None)]
        save(tmp_path / "folder" / "a.png", 4)
        folder = open_source(tmp_path / "folder")
        assert isinstance(folder, StoredSource)
        assert folder.stored([0])[0].content() == (tmp_path / "folder" / "a.png").read_bytes()

    def test_folder_of_files_in_order_and_by_split(self, tmp_path: Path):
        for seed, name in enumerate(["train-0.parquet", "train-1.parquet", "test-0.parquet"]):
            write(tmp_path / "data" / name, {"image": [png(seed)]})
        train = open_source(tmp_path)
        assert len(train) == 2
        np.testing.assert_array_equal(pixels(train, 1), array(1))
        np.testing.assert_array_equal(pixels(open_source(tmp_path, split="test"), 0), array(2))

    def test_missing_cells_and_broken_bytes_are_unreadable(self, tmp_path: Path):
        source = open_source(write(tmp_path / "t.parquet", {"image": [None, truncated_jpeg(), png(0)]}))
        with pytest.raises(UnreadableImage, match="^row 0: unreadable image: the row holds no image"):
            source[0]
        with pytest.raises(UnreadableImage, match="^row 1: unreadable image: image file is truncated"):
            source[1]
        assert source[2].image.size == (16, 12)

    def test_columns_are_listed_where_none_fits(self, tmp_path: Path):
        path = write(tmp_path / "t.parquet", {"text": ["a"], "blob": [b"1"]})
        with pytest.raises(
            DataError, match="^data: expected one column of images, got none; the columns are text, blob"
        ):
            open_source(path)
        with pytest.raises(DataError, match="^image_column: expected a column of images, got no such column for 'x'"):
            open_source(path, image_column="x")
        with pytest.raises(DataError, match=r"^image_column: .*, got a column of Value\('string'\) for 'text'"):
            open_source(path, image_column="text")
        with pytest.raises(DataError, match="^label_column: .* for 'y'; the columns are text, blob"):
            open_source(path, image_column="blob", label_column="y")

    def test_several_image_columns(self, tmp_path: Path):
        cells: list[object] = [{"bytes": png(0), "path": None}]
        path = write(tmp_path / "t.parquet", {"left": cells, "right": cells})
        with pytest.raises(DataError, match="got 2 of them; the columns are left, right; name one: image_column"):
            open_source(path)
        assert len(open_source(path, image_column="right")) == 1

    def test_broken_file_and_empty_table(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
        (tmp_path / "bad.parquet").write_bytes(b"not parquet")
        with pytest.raises(DataError, match="^data: expected parquet files .*, got bad.parquet: .*Parquet magic bytes"):
            open_source(tmp_path / "bad.parquet")
        features = datasets.Features({"image": datasets.Value("binary")})
        with pytest.raises(DataError, match="^data: .* the same columns and some rows, got empty.parquet: .* no data"):
            open_source(write(tmp_path / "empty.parquet", {"image": []}, features))
        with pytest.raises(DataError, match="^split: expected 'train', which is all of the file .*, got 'test'"):
            open_source(tmp_path / "bad.parquet", split="test")


class TestNames:
    @pytest.mark.parametrize(
        "data", ["/no/such/folder", "./none", "a/b/c", "photos.parquet", "my photos", Path("gone")]
    )
    def test_paths_that_do_not_exist(self, data: str | Path):
        with pytest.raises(
            DataError,
            match=f"^data: expected a folder, .* but {Path(data) if data == Path('gone') else data} does not exist",
        ):
            open_source(data)

    def test_other_files(self, tmp_path: Path):
        save(tmp_path / "a.png")
        with pytest.raises(DataError, match="^data: expected a folder, a .parquet file .*, got the file .*a.png"):
            open_source(tmp_path / "a.png")

    def test_hub_out_of_reach(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(
            DataError, match="no path owner/birds and the Hub cannot be reached .*; check path and network"
        ) as caught:
            open_source("owner/birds")
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_cached_data_set_is_read_when_the_hub_is_out_of_reach(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        open_source(write(tmp_path / "birds.parquet", {"image": [png(7)]}))
        (made,) = (cache / "parquet").glob("*/*/*/dataset_info.json")
        kept = cache / "owner___birds" / "default" / "0.0.0" / made.parent.name
        shutil.copytree(made.parent, kept)
        for file in kept.glob("parquet-*.arrow"):
            file.rename(kept / file.name.replace("parquet-", "birds-"))
        source = open_source("owner/birds")
        np.testing.assert_array_equal(pixels(source, 0), array(7))
        assert source.description == "1 images in owner/birds from the Hub"
        with pytest.raises(
            DataError, match=r"^split: expected one of \['train'\] of owner/birds on the Hub, got 'test'"
        ):
            open_source("owner/birds", split="test")

    def test_name_that_the_hub_does_not_know(self, monkeypatch: pytest.MonkeyPatch):
        def unknown(self: huggingface_hub.HfApi, name: str, timeout: float) -> None:
            raise huggingface_hub.errors.HFValidationError(name)

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unknown)
        with pytest.raises(
            DataError, match="no path owner/birds and no such data set on the Hub .*; check the spelling"
        ):
            open_source("owner/birds")
