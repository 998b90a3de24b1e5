"""Parquet shards, read one row group at a time."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

import lazy_loader

from splatlearn.data.image_sets.samples import StoredImage
from splatlearn.data.image_sets.table import find_image_column, find_label_column, is_text
from splatlearn.data.shards.files import ShardIndex, file_system
from splatlearn.images.errors import DataError, UnknownColumnError

if TYPE_CHECKING:
    import datasets
    import pyarrow.parquet as pq
else:
    datasets = lazy_loader.load("datasets")


class ParquetShards:
    """Reading of the image column, and of the label column if there is one, of parquet shards with equal columns.

    - `url`: any of the shards, which says what the columns are.
    - `image_column`, `label_column`: names of columns; None finds them.

    Raises DataError where a column does not exist, holds something else, or cannot be found.
    """

    def __init__(self, url: str, image_column: str | None = None, label_column: str | None = None) -> None:
        with _opened(url) as file:
            features = datasets.Features.from_arrow_schema(file.schema_arrow)
        self._image = find_image_column(features, image_column)
        self._label = find_label_column(features, label_column)
        feature = None if self._label is None else features[self._label]
        if is_text(feature):
            raise UnknownColumnError(
                f"label_column: expected whole numbers or class labels in shards that are streamed, got text for "
                f"{self._label!r}; write them with `splatlearn pack`"
            )
        self.class_names = list(feature.names) if isinstance(feature, datasets.ClassLabel) else None

    def index(self, url: str) -> ShardIndex:
        """Row groups of a shard, each as (number, number after it, rows). Raises DataError for missing columns."""
        with _opened(url) as file:
            missing = {self._image, self._label} - {None, *file.schema_arrow.names}
            if missing:
                raise DataError(f"data: expected the same columns in every shard, got none named {missing} in {url}")
            rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        return ShardIndex([(group, group + 1, count) for group, count in enumerate(rows) if count])

    def read(self, url: str, start: int, stop: int) -> list[StoredImage]:
        """The rows of row groups."""
        columns = [self._image] if self._label is None else [self._image, self._label]
        with _opened(url) as file:
            table = file.read_row_groups(range(start, stop), columns=columns)
            before = sum(file.metadata.row_group(group).num_rows for group in range(start))
        cells = table[self._image].to_pylist()
        labels = [None] * len(cells) if self._label is None else table[self._label].to_pylist()
        shard = posixpath.basename(url)
        return [
            _stored(cell, label, f"{shard} row {before + row}")
            for row, (cell, label) in enumerate(zip(cells, labels, strict=True))
        ]


def _stored(cell: Any, label: int | None, row: str) -> StoredImage:
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    # -1 is how data sets without public test labels mark them.
    return StoredImage(content, f"{row} ({path})" if path else row, None if label is None or label < 0 else label)


def _opened(url: str) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fs, path = file_system(url)
    file = fs.open(path, "rb")
    try:
        return pq.ParquetFile(file, pre_buffer=True)
    except pa.ArrowInvalid as error:
        file.close()
        raise DataError(f"data: {url} is not a whole parquet file: {error}; write the shard again") from error
