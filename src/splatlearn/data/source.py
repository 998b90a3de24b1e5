"""Opening of image sources: folders of images, shards, and data sets on the Hugging Face Hub."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from splatlearn.core.errors import first_line, some_of
from splatlearn.core.kinds import check_path
from splatlearn.data.image_sets.folder import SHARD_EXTENSIONS, SPLIT_NAMES, Listing, list_folder
from splatlearn.data.image_sets.samples import ImageList, ImageSource, Sample
from splatlearn.data.shards.files import ShardFiles, attempt, find_shards, is_shard_url, shard_kind
from splatlearn.data.shards.stream_order import LANES, SHUFFLE_WINDOW, StreamShape
from splatlearn.images.errors import DataError, UnknownSplitError
from splatlearn.images.left_out import LeftOut

if TYPE_CHECKING:
    import datasets

__all__ = ["DataError", "ImageList", "ImageSource", "Sample", "open_source"]

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
ROWS_AT_ONCE = 100
EXPECTED = "a folder, a .parquet file or .tar file, a URL or a name on the Hub"
HUB_TIMEOUT = 10.0  # seconds to wait for the Hub to say whether it knows a name


def open_source(
    data: str | Path,
    split: str = "train",
    image_column: str | None = None,
    label_column: str | None = None,
    shuffle_window: int | None = None,
    lanes: int = LANES,
) -> ImageSource:
    """Open a set of images for reading in a fixed order.

    - `data`: a folder of images; a parquet or tar file, a folder of them, their URL (of any file system that fsspec
      knows) or pattern (`train-{000..127}.tar`); else a name on the Hub (`owner/name` or `name`).
      Sub-folders train, val and test of a folder are its splits, and folders below that its classes. Metadata files
      in folders are not read. Tar shards are in the layout of webdataset, with class numbers in files of the ending
      .cls.
    - `split`: "validation" and other usual spellings of a split mean the same. A folder without splits is "train".
    - `image_column`, `label_column`: columns of a table; None finds them.
    - `shuffle_window`: number of samples that are shuffled together if shards are read as a stream. Tar shards and URLs
      are always streamed, by default 4096 samples at a time. Local parquet files are streamed if this is given;
      otherwise they are converted once, in the cache of `datasets`, and read in any order.
    - `lanes`: streams that such shards are dealt to, as `StreamShape` says; a large run over many processes needs more.

    Raises InputError for a shuffle_window or lanes below one, and DataError for paths and names that do not exist,
    folders without images, and unknown splits or columns.
    """
    columns = _Columns(image_column, label_column, shuffle_window, lanes)
    check_path("data", data)
    path = Path(data).expanduser()
    if path.is_dir():
        listing = list_folder(path.resolve())
        found = listing.split(split)
        if listing.kind == "images":
            return _images(listing, found, str(path), columns)
        assert listing.kind != "splats"  # which a folder of images never is
        paths = [listing.root / file for file in listing.splits[found]]
        return _shards(paths, listing.kind, f"{len(paths)} {listing.kind} files in {path}", columns, listing.left_out)
    if path.is_file():
        kind = shard_kind(path.name)
        if kind is None:
            raise DataError(f"data: expected {EXPECTED}, got the file {path}")
        if split != "train":
            raise UnknownSplitError(f"split: expected 'train', which is all of the file {path}, got {split!r}")
        return _shards([path.resolve()], kind, str(path), columns)
    name = str(data)
    if isinstance(data, str) and is_shard_url(name):
        return _stream(find_shards(name, split), columns)
    if isinstance(data, Path) or path.suffix.lower() in SHARD_EXTENSIONS or not HUB_NAME.fullmatch(name):
        raise DataError(f"data: expected {EXPECTED}, but {name} does not exist")
    return _table(_read_hub(name, split), f"{name} from the Hub", columns)


@dataclass(frozen=True)
class _Columns:
    """Columns that are read from a table, and how."""

    image: str | None
    label: str | None
    shuffle_window: int | None
    lanes: int


def _shards(
    paths: list[Path],
    kind: Literal["parquet", "tar"],
    origin: str,
    columns: _Columns,
    left_out: LeftOut | None = None,
) -> ImageSource:
    if kind == "parquet" and columns.shuffle_window is None:
        return _table(_read_parquet(paths), origin, columns, left_out)
    return _stream(ShardFiles([str(path) for path in paths], kind, origin, left_out or LeftOut()), columns)


def _stream(files: ShardFiles, columns: _Columns) -> ImageSource:
    from splatlearn.data.shards.parquet import ParquetShards
    from splatlearn.data.shards.stream import ShardSource
    from splatlearn.data.shards.tar import TarShards

    shape = StreamShape(SHUFFLE_WINDOW if columns.shuffle_window is None else columns.shuffle_window, columns.lanes)
    if files.kind == "tar":
        return ShardSource(files, TarShards(), shape)
    reader = attempt(partial(ParquetShards, image_column=columns.image, label_column=columns.label), files.urls[0])
    return ShardSource(files, reader, shape)


def _images(listing: Listing, split: str, data: str, wanted: _Columns) -> ImageSource:
    import datasets

    from splatlearn.data.image_sets.table import DatasetSource

    files, classes = listing.splits[split], listing.classes()
    columns: dict[str, list[str]] = {"image": [str(listing.root / file) for file in files]}
    features: dict[str, datasets.Image | datasets.ClassLabel] = {"image": datasets.Image(decode=False)}
    if classes is not None:
        columns["label"] = [listing.class_of(file) for file in files]
        features["label"] = datasets.ClassLabel(names=classes)
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    description = f"{len(files)} images in {data}" + (f", split {split}" if listing.named else "")
    return DatasetSource(rows, description, wanted.image, wanted.label, listing.root, listing.left_out)


def _table(rows: datasets.Dataset, origin: str, columns: _Columns, left_out: LeftOut | None = None) -> ImageSource:
    from splatlearn.data.image_sets.table import DatasetSource

    description = f"{len(rows)} images in {origin}"
    return DatasetSource(rows, description, columns.image, columns.label, left_out=left_out)


def _read_parquet(paths: list[Path]) -> datasets.Dataset:
    import datasets

    escaped = [glob.escape(str(path)) for path in paths]
    try:
        with _without_progress_bars():
            # A fixed batch size, because the default is that of the first row group, which may be empty.
            rows = datasets.load_dataset(
                "parquet", data_files={"train": escaped}, split="train", batch_size=ROWS_AT_ONCE
            )
    except Exception as error:
        reason = first_line(error.__cause__ or error)
        names = some_of((path.name for path in paths), 3)
        raise DataError(
            f"data: expected parquet files with the same columns and some rows, got {names}: {reason}"
        ) from error
    assert isinstance(rows, datasets.Dataset)
    return rows


def _read_hub(name: str, split: str) -> datasets.Dataset:
    import datasets

    with _without_progress_bars():
        builder = _hub_builder(name)
        splits = [str(known) for known in builder.info.splits or builder.config.data_files or {}]
        meant = SPLIT_NAMES.get(split.lower(), split)
        found = [known for known in splits if known == split] or [
            known for known in splits if SPLIT_NAMES.get(known, known) == meant
        ]
        if splits and not found:
            raise UnknownSplitError(f"split: expected one of {splits} of {name} on the Hub, got {split!r}")
        try:
            builder.download_and_prepare()
            rows = builder.as_dataset(split=found[0] if found else split)
        except Exception as error:
            raise DataError(f"data: reading {name} from the Hub failed: {first_line(error)}") from error
    assert isinstance(rows, datasets.Dataset)
    return rows


def _hub_builder(name: str) -> datasets.DatasetBuilder:
    """Ask the Hub for a data set, or the local cache when the Hub cannot be reached."""
    import datasets
    from datasets.packaged_modules.cache.cache import Cache
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    neither = f"data: expected {EXPECTED}, but there is no path {name}"
    try:
        # Asked first, because `datasets` repeats its requests for half a minute when there is no network.
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError):
        raise DataError(f"{neither} and no such data set on the Hub that you may read; check the spelling") from None
    except Exception as unreachable:  # the HTTP client and its errors change between versions
        try:
            return Cache(repo_id=name, dataset_name=name.split("/")[-1], version="auto", hash="auto")
        except Exception:
            reason = first_line(unreachable).rstrip(".")
            raise DataError(f"{neither} and the Hub cannot be reached ({reason}); check path and network") from None
    try:
        return datasets.load_dataset_builder(f"hf://datasets/{name}")
    except Exception as error:
        raise DataError(f"data: {name} on the Hub cannot be read as a table: {first_line(error)}") from error


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Switch the progress bars of `datasets` off, and back to what they were."""
    import datasets
    from datasets import config

    # Where the user's environment fixes the choice, `datasets` refuses to be told otherwise.
    if config.HF_DATASETS_DISABLE_PROGRESS_BARS is not None or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
