"""Streams of tar and parquet shards: the same samples as the files, read block by block, from anywhere."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from data.pictures import array, encode, truncated_jpeg
from splatlearn.data import (
    PretrainingDataset,
    PretrainingLoader,
    RandomResizedCrop,
    StoredSource,
    StreamedSource,
    StreamShape,
    open_source,
)
from splatlearn.data.shards import files
from splatlearn.data.shards import tar as tar_shards
from splatlearn.data.shards.stream import ShardSource
from splatlearn.images import DataError, UnreadableImage

CROP = RandomResizedCrop(8, 8)


def png(seed: int) -> bytes:
    return encode(Image.fromarray(array(seed)))


def tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def samples(first: int, last: int) -> dict[str, bytes]:
    """Members of the pictures of some seeds, labelled by their seed modulo 3."""
    members: dict[str, bytes] = {}
    for seed in range(first, last):
        members |= {f"d/{seed:04d}.png": png(seed), f"d/{seed:04d}.cls": b"%d" % (seed % 3), f"d/{seed:04d}.txt": b"x"}
    return members


def parquet(path: Path, first: int, last: int, group: int = 4) -> None:
    import pyarrow.parquet as pq

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    cells = {"image": [{"bytes": png(i), "path": None} for i in range(first, last)]}
    rows = datasets.Dataset.from_dict({**cells, "label": [i % 3 for i in range(first, last)]}, features=features)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.data.table, path, row_group_size=group)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_shards, "BLOCK_BYTES", 4096)


@pytest.fixture(params=["tar", "parquet"])
def shards(request: pytest.FixtureRequest, tmp_path: Path, small_blocks: None) -> Path:
    """Two shards of the pictures 0 to 47."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, (first, last) in enumerate([(0, 20), (20, 48)]):
        if request.param == "tar":
            (folder / f"s-{number:03d}.tar").write_bytes(tar(samples(first, last)))
        else:
            parquet(folder / f"s-{number:03d}.parquet", first, last)
    return folder


def opened(data: str | Path, window: int = 12) -> ShardSource:
    source = open_source(data, shuffle_window=window)
    assert isinstance(source, ShardSource)
    return source


def loader(
    source: ShardSource, batch: int = 4, workers: int = 0, process: int = 0, processes: int = 1
) -> PretrainingLoader:
    return PretrainingLoader(PretrainingDataset(source, CROP, 4, 3), batch, workers, process, processes)


class TestSources:
    def test_samples_in_the_order_of_the_shards(self, shards: Path):
        source = opened(shards)
        assert isinstance(source, StoredSource) and isinstance(source, StreamedSource)
        assert len(source) == 48 and len(source._blocks) > 8
        for index in (0, 19, 20, 33, 47):
            np.testing.assert_array_equal(np.asarray(source[index].image), array(index))
        assert source.labels == [index % 3 for index in range(48)]
        assert [image.content() for image in source.stored([47, 3, 20])] == [png(47), png(3), png(20)]
        assert source[3].label == 0 and source[4].label == 1
        kind = next(shards.iterdir()).suffix.removeprefix(".")
        assert source.description == f"48 images in 2 {kind} files in {shards}"

    def test_the_same_as_streaming_by_datasets(self, shards: Path):
        kind = "webdataset" if list(shards.glob("*.tar")) else "parquet"
        files = [str(path) for path in sorted(shards.iterdir())]
        oracle = datasets.load_dataset(kind, data_files={"train": files}, split="train", streaming=True)
        column = "png" if kind == "webdataset" else "image"
        expected = [np.asarray(row[column]).tobytes() for row in oracle]
        source = opened(shards)
        assert [np.asarray(source[index].image).tobytes() for index in range(48)] == expected

    def test_urls_patterns_and_folders_of_any_file_system(self, shards: Path):
        memory = fsspec.filesystem("memory")
        for path in shards.iterdir():
            memory.pipe(f"/bucket/deep/train-{path.name}", path.read_bytes())
        ending = next(shards.iterdir()).suffix
        try:
            whole = [image.content() for image in opened(shards).stored(range(48))]
            for url in (
                "memory://bucket",
                "memory://bucket/deep/",
                f"memory://bucket/deep/*{ending}",
                f"memory://bucket/deep/train-s-{{000..001}}{ending}",
                f"{shards}/s-{{000..001}}{ending}",
                f"file://{shards}",
            ):
                source = open_source(url)
                assert isinstance(source, ShardSource)
                assert [image.content() for image in source.stored(range(48))] == whole
            assert len(open_source(f"memory://bucket/deep/train-s-000{ending}")) == 20
        finally:
            memory.rm("/bucket", recursive=True)

    def test_survives_pickling(self, shards: Path):
        source = pickle.loads(pickle.dumps(opened(shards)))
        np.testing.assert_array_equal(np.asarray(source[30].image), array(30))

    def test_the_index_is_kept_and_made_anew_where_a_shard_changes(self, shards: Path, cache: Path):
        opened(shards)
        (kept,) = (cache / "splatlearn_shards").iterdir()
        assert len(opened(shards)) == 48
        assert [path for path in (cache / "splatlearn_shards").iterdir()] == [kept]
        last = sorted(shards.iterdir())[-1]
        last.unlink()
        assert len(opened(shards)) == 20

    def test_local_parquet_without_a_window_is_read_at_random(self, tmp_path: Path):
        parquet(tmp_path / "a.parquet", 0, 5)
        assert not isinstance(open_source(tmp_path), StreamedSource)
        assert isinstance(open_source(tmp_path, shuffle_window=9), StreamedSource)

    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_tar_with_long_names_folders_and_samples_without_an_image(
        self, form: int, tmp_path: Path, small_blocks: None
    ):
        long = "long/" * 40
        members = {"readme.txt": b"hello"}
        for seed in range(12):
            members |= {f"{long}{seed}.seg.png": b"other", f"{long}{seed}.jpg": png(seed), f"x/{seed}.json": b"{}"}
        (tmp_path / "a.tar").write_bytes(tar(members, form))
        source = opened(tmp_path / "a.tar")
        assert len(source) == 12 and len(source._blocks) > 1
        assert [image.content() for image in source.stored(range(12))] == [png(seed) for seed in range(12)]
        assert source.stored([1])[0].name == f"a.tar/{long}1.jpg"
        assert source.labels == [None] * 12

    def test_broken_images_are_named(self, tmp_path: Path):
        (tmp_path / "a.tar").write_bytes(tar({"good.png": png(1), "bad.jpg": truncated_jpeg(), "none.png": b""}))
        source = opened(tmp_path / "a.tar")
        with pytest.raises(UnreadableImage, match="^a.tar/bad.jpg: unreadable image: image file is truncated"):
            source[1]
        with pytest.raises(UnreadableImage, match="^a.tar/none.png: unreadable image: the file is empty"):
            source[2]


class TestOrder:
    def test_an_epoch_has_every_sample_once(self, shards: Path):
        source = opened(shards)
        batches = list(loader(source).batches(0, epochs=2))
        for epoch in range(2):
            indices = torch.cat([batch.indices for batch in batches[epoch * 12 : epoch * 12 + 12]]).tolist()
            assert sorted(indices) == list(range(48))
        assert [b.indices.tolist() for b in batches[:12]] != [b.indices.tolist() for b in batches[12:]]

    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_same_for_any_number_of_workers_and_from_any_step(self, shards: Path, workers: int):
        source = opened(shards)
        alone = list(loader(source).batches(1))
        others = list(loader(source, workers=workers).batches(1, first_step=5))
        assert len(others) == 7
        for a, b in zip(alone[5:], others, strict=True):
            assert torch.equal(a.images, b.images) and torch.equal(a.indices, b.indices)

    def test_processes_share_every_step(self, shards: Path):
        source = opened(shards)
        whole = list(loader(source, 6).batches(2))
        parts = [list(loader(source, 2, process=process, processes=3).batches(2)) for process in range(3)]
        for step, batch in enumerate(whole):
            assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))

    @pytest.mark.parametrize("first_step", [0, 20])
    def test_blocks_are_read_about_once_and_a_resumed_epoch_reads_the_rest(
        self, tmp_path: Path, first_step: int, monkeypatch: pytest.MonkeyPatch
    ):
        parquet(tmp_path / "a.parquet", 0, 320, group=5)
        source = opened(tmp_path, window=40)
        source.shape = StreamShape(shuffle_window=40, lanes=4, run=2)
        reads: Counter[tuple[int, int]] = Counter()
        read = source._reader.read

        def counted(url: str, start: int, stop: int) -> list:
            reads[start, stop] += 1
            return read(url, start, stop)

        monkeypatch.setattr(source._reader, "read", counted)
        list(loader(source, 8).batches(0, first_step))
        # 64 blocks in 40 steps; lanes meet at 3 windows of 2 blocks, and what is open at the start is read too.
        left = 64 * (40 - first_step) // 40
        assert left <= sum(reads.values()) <= left + 3 * 2 + 2 * 4 * 2
        assert max(reads.values()) <= 2


class TestErrors:
    def test_places_that_do_not_exist(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(files, "FIRST_WAIT", 0.0)
        with pytest.raises(DataError, match="^data: cannot read memory://nowhere/: it does not exist"):
            open_source("memory://nowhere/")
        with pytest.raises(DataError, match="^data: cannot read /no/such-000.tar: it does not exist"):
            open_source("/no/such-{000..002}.tar")
        with pytest.raises(DataError, match="^data: cannot read nosuch://x/a.tar: Protocol not known: nosuch"):
            open_source("nosuch://x/a.tar")
        with pytest.raises(DataError, match="at memory://none/[*].tar, got no file"):
            open_source("memory://none/*.tar")

    def test_a_network_that_fails_is_tried_again(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(files, "FIRST_WAIT", 0.0)
        tries = []

        def read(url: str) -> str:
            tries.append(url)
            if len(tries) < 3:
                raise ConnectionError("reset by peer")
            return "content"

        assert files.attempt(read, "s3://b/a.tar") == "content" and len(tries) == 3

        def never(url: str) -> str:
            raise ConnectionError("reset by peer")

        with pytest.raises(
            DataError, match="^data: cannot read s3://b/a.tar after 3 tries: reset by peer; check network and rights"
        ):
            files.attempt(never, "s3://b/a.tar")

    def test_broken_shards_are_named(self, tmp_path: Path):
        whole = tar(samples(0, 3))
        (tmp_path / "cut.tar").write_bytes(whole[:2600])
        with pytest.raises(DataError, match="^data: .*/cut.tar is cut off after 2 files; write the shard again"):
            open_source(tmp_path / "cut.tar")
        (tmp_path / "no.tar").write_bytes(b"no tar file at all" * 100)
        with pytest.raises(DataError, match="^data: .*/no.tar is not a whole tar file: .*; write the shard again"):
            open_source(tmp_path / "no.tar")
        (tmp_path / "no.parquet").write_bytes(b"no")
        with pytest.raises(DataError, match="^data: .*/no.parquet is not a whole parquet file: "):
            open_source(tmp_path / "no.parquet", shuffle_window=5)
        (tmp_path / "text.tar").write_bytes(tar({"a.txt": b"1"}))
        with pytest.raises(DataError, match="^data: expected at least one image, got none in .*text.tar"):
            open_source(tmp_path / "text.tar")

    def test_a_shard_that_changes_under_the_reader(self, tmp_path: Path):
        parquet(tmp_path / "a.parquet", 0, 8, group=4)
        source = opened(tmp_path)
        parquet(tmp_path / "a.parquet", 0, 6, group=3)
        with pytest.raises(DataError, match="^data: expected 4 images in a block of .*a.parquet, got 3; the shard has"):
            source[0]

    def test_folders_and_splits(self, tmp_path: Path):
        parquet(tmp_path / "train-0.parquet", 0, 4)
        parquet(tmp_path / "val-0.parquet", 4, 6)
        url = f"file://{tmp_path}"
        assert len(open_source(url)) == 4 and len(open_source(url, split="validation")) == 2
        with pytest.raises(DataError, match=r"^split: expected one of \['train', 'val'\] in file.*, got 'test'"):
            open_source(url, split="test")
        with pytest.raises(DataError, match="^split: expected 'train', which is all of the shards"):
            open_source(f"{url}/*.parquet", split="val")
        (tmp_path / "train-1.tar").write_bytes(tar(samples(0, 1)))
        with pytest.raises(DataError, match="^data: expected shards that all end in .parquet or all in .tar"):
            open_source(url)
        with pytest.raises(DataError, match="^data: expected .* got 2 parquet files .* and 1 tar files"):
            open_source(tmp_path)

    def test_text_labels_and_windows(self, tmp_path: Path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": [png(0)], "label": ["x"]}), tmp_path / "a.parquet")
        assert open_source(tmp_path, shuffle_window=1)[0].label is None
        with pytest.raises(DataError, match="^label_column: expected whole numbers or class labels in shards that are"):
            open_source(tmp_path, shuffle_window=1, label_column="label")
        with pytest.raises(ValueError, match="^shuffle_window: expected a positive number of samples"):
            open_source(tmp_path, shuffle_window=0)


def test_braces_stand_for_all_numbers_between():
    assert files.expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert files.expand_braces("{0..1}/{1..2}.tar") == ["0/1.tar", "0/2.tar", "1/1.tar", "1/2.tar"]
    assert files.expand_braces("plain.tar") == ["plain.tar"]
