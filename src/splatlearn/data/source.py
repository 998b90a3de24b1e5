"""Opening of image sources: folders of images, parquet files and data sets on the Hugging Face Hub."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from splatlearn.data.folder import SPLIT_NAMES, Listing, list_folder
from splatlearn.data.samples import DataError, ImageList, ImageSource, Sample

if TYPE_CHECKING:
    import datasets

__all__ = ["DataError", "ImageList", "ImageSource", "Sample", "open_source"]

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
ROWS_AT_ONCE = 100
HUB_TIMEOUT = 10.0  # seconds to wait for the Hub to say whether it knows a name


def open_source(
    data: str | Path,
    split: str = "train",
    image_column: str | None = None,
    label_column: str | None = None,
) -> ImageSource:
    """Open a set of images for reading in a fixed order.

    - `data`: a folder of images; a parquet file or a folder of them; else a name on the Hub (`owner/name` or `name`).
      Sub-folders train, val and test of a folder are its splits, and folders below that its classes. Metadata files
      in folders are not read. Parquet is converted once, in the cache of `datasets`, outside the folder.
    - `split`: "validation" and other usual spellings of a split mean the same. A folder without splits is "train".
    - `image_column`, `label_column`: columns of a table; None finds them.

    Raises DataError for paths and names that do not exist, folders without images, and unknown splits or columns.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        listing = list_folder(path.resolve())
        found = listing.split(split)
        files = listing.splits[found]
        if listing.is_parquet:
            paths = [listing.root / file for file in files]
            return _table(_read_parquet(paths), f"{len(paths)} parquet files in {path}", image_column, label_column)
        return _images(listing, found, str(path), image_column, label_column)
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            raise DataError(f"data: expected a folder, a .parquet file or a name on the Hub, got the file {path}")
        if split != "train":
            raise DataError(f"split: expected 'train', which is all of the file {path}, got {split!r}")
        return _table(_read_parquet([path.resolve()]), str(path), image_column, label_column)
    name = str(data)
    if isinstance(data, Path) or path.suffix.lower() == ".parquet" or not HUB_NAME.fullmatch(name):
        raise DataError(f"data: expected a folder, a .parquet file or a name on the Hub, but {name} does not exist")
    return _table(_read_hub(name, split), f"{name} from the Hub", image_column, label_column)


def _images(listing: Listing, split: str, data: str, image_column: str | None, label_column: str | None) -> ImageSource:
    import datasets

    from splatlearn.data.table import DatasetSource

    files, classes = listing.splits[split], listing.classes()
    columns: dict[str, list[str]] = {"image": [str(listing.root / file) for file in files]}
    features: dict[str, datasets.Image | datasets.ClassLabel] = {"image": datasets.Image(decode=False)}
    if classes is not None:
        columns["label"] = [listing.class_of(file) for file in files]
        features["label"] = datasets.ClassLabel(names=classes)
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    description = f"{len(files)} images in {data}" + (f", split {split}" if listing.named else "")
    return DatasetSource(rows, description, image_column, label_column, root=listing.root)


def _table(rows: datasets.Dataset, origin: str, image_column: str | None, label_column: str | None) -> ImageSource:
    from splatlearn.data.table import DatasetSource

    return DatasetSource(rows, f"{len(rows)} images in {origin}", image_column, label_column)


def _read_parquet(paths: list[Path]) -> datasets.Dataset:
    import datasets

    escaped = [glob.escape(str(path)) for path in paths]
    try:
        with _quiet():
            # A fixed batch size, because the default is that of the first row group, which may be empty.
            rows = datasets.load_dataset(
                "parquet", data_files={"train": escaped}, split="train", batch_size=ROWS_AT_ONCE
            )
    except Exception as error:
        reason = _first_line(error.__cause__ or error)
        names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
        raise DataError(
            f"data: expected parquet files with the same columns and some rows, got {names}: {reason}"
        ) from error
    assert isinstance(rows, datasets.Dataset)
    return rows


def _read_hub(name: str, split: str) -> datasets.Dataset:
    import datasets

    with _quiet():
        builder = _hub_builder(name)
        splits = [str(known) for known in builder.info.splits or builder.config.data_files or {}]
        meant = SPLIT_NAMES.get(split.lower(), split)
        found = [known for known in splits if known == split] or [
            known for known in splits if SPLIT_NAMES.get(known, known) == meant
        ]
        if splits and not found:
            raise DataError(f"split: expected one of {splits} of {name} on the Hub, got {split!r}")
        try:
            builder.download_and_prepare()
            rows = builder.as_dataset(split=found[0] if found else split)
        except Exception as error:
            raise DataError(f"data: reading {name} from the Hub failed: {_first_line(error)}") from error
    assert isinstance(rows, datasets.Dataset)
    return rows


def _hub_builder(name: str) -> datasets.DatasetBuilder:
    """Ask the Hub for a data set, or the local cache when the Hub cannot be reached."""
    import datasets
    from datasets.packaged_modules.cache.cache import Cache
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    neither = f"data: expected a folder, a .parquet file or a name on the Hub, but there is no path {name}"
    try:
        # Asked first, because `datasets` repeats its requests for half a minute when there is no network.
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError):
        raise DataError(f"{neither} and no such data set on the Hub that you may read; check the spelling") from None
    except Exception as unreachable:  # the HTTP client and its errors change between versions
        try:
            return Cache(repo_id=name, dataset_name=name.split("/")[-1], version="auto", hash="auto")
        except Exception:
            reason = _first_line(unreachable).rstrip(".")
            raise DataError(f"{neither} and the Hub cannot be reached ({reason}); check path and network") from None
    try:
        return datasets.load_dataset_builder(f"hf://datasets/{name}")
    except Exception as error:
        raise DataError(f"data: {name} on the Hub cannot be read as a table: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
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
