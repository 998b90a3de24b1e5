"""Images in a Hugging Face dataset: which columns hold them, and reading them row by row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

from splatlearn.data.image_sets.samples import Sample, StoredImage
from splatlearn.images.errors import DataError, UnknownColumnError
from splatlearn.images.left_out import LeftOut

if TYPE_CHECKING:
    import datasets
else:
    # It brings pandas and takes a second, which commands without data sets should not.
    datasets = lazy_loader.load("datasets")

BINARY_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
LABEL_NAMES = ("label", "labels", "class", "target", "category")


class DatasetSource:
    """An ImageSource over the rows of a Hugging Face dataset.

    - `image_column`, `label_column`: names of columns; None finds them.
    - `root`: for rows that are paths of files, the folder that names are given relative to.
    - `left_out`: what lies beside the images.

    Raises DataError where a column does not exist, holds something else, or cannot be found.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        description: str,
        image_column: str | None = None,
        label_column: str | None = None,
        root: Path | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise DataError(f"data: expected at least one image, got {description}")
        self.description = description
        self.left_out = () if left_out is None else (left_out,)
        self._image = find_image_column(dataset.features, image_column)
        self._label = find_label_column(dataset.features, label_column)
        self._root = root
        # Other columns are dropped first: reading a row would decode the images in them.
        rows = dataset.select_columns([self._image] if self._label is None else [self._image, self._label])
        if isinstance(dataset.features[self._image], datasets.Image):
            rows = rows.cast_column(self._image, datasets.Image(decode=False))
        self._rows = rows
        self.class_names = self._find_class_names()
        self._numbers = {name: number for number, name in enumerate(self.class_names or [])}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> Sample:
        return self.stored([index])[0].sample()

    def stored(self, indices: Sequence[int], /) -> list[StoredImage]:
        """The image files of some rows, as they are stored."""
        rows = self._rows[list(indices)]
        labels = [None] * len(indices) if self._label is None else rows[self._label]
        return [
            self._stored(index, cell, label)
            for index, cell, label in zip(indices, rows[self._image], labels, strict=True)
        ]

    @property
    def file_names(self) -> list[str] | None:
        """The names of all files, relative to the root, for rows that are paths; None for others."""
        if self._root is None:
            return None
        paths = self._rows.with_format("arrow")[:][self._image].combine_chunks().field("path").to_pylist()
        # `Path` takes a second for ten thousand names.
        prefix = f"{self._root.as_posix().rstrip('/')}/"
        return [path.replace(os.sep, "/").removeprefix(prefix) for path in paths]

    @property
    def labels(self) -> list[int | None]:
        """The class numbers of all rows, read without the images."""
        if self._label is None:
            return [None] * len(self)
        return [self._number(value) for value in self._rows.select_columns([self._label])[:][self._label]]

    def _stored(self, index: int, cell: Any, label: Any) -> StoredImage:
        content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        return StoredImage(path if content is None else content, self._name(index, path), self._number(label))

    def _name(self, index: int, path: str | None) -> str:
        if self._root is not None and path is not None:
            return Path(path).relative_to(self._root).as_posix()
        return f"row {index}" if path is None else f"row {index} ({path})"

    def _number(self, value: Any) -> int | None:
        if isinstance(value, str):
            return self._numbers[value]
        # -1 is how data sets without public test labels mark them.
        return None if value is None or value < 0 else int(value)

    def _find_class_names(self) -> list[str] | None:
        if self._label is None:
            return None
        feature = self._rows.features[self._label]
        if isinstance(feature, datasets.ClassLabel):
            return list(feature.names)
        if is_text(feature):
            return sorted(name for name in self._rows.unique(self._label) if name is not None)
        return None


def find_image_column(features: datasets.Features, wanted: str | None) -> str:
    """The column that holds images: the named one, or the only one that can.

    Those are columns with the Image feature, with dictionaries of bytes and path, or with bytes under a usual name.
    Raises DataError listing the columns.
    """
    if wanted is not None:
        feature = features.get(wanted)
        if feature is None or not (_is_image(feature) or _is_binary(feature)):
            came = "no such column" if feature is None else f"a column of {feature}"
            raise DataError(
                f"image_column: expected a column of images, got {came} for {wanted!r}; {_listed(features)}"
            )
        return wanted
    found = [name for name, feature in features.items() if _is_image(feature)]
    found = found or [name for name in features if name.lower() in BINARY_NAMES and _is_binary(features[name])]
    preferred = [name for name in BINARY_NAMES if name in found]
    if len(found) != 1 and not preferred:
        came = f"{len(found)} of them" if found else "none"
        raise DataError(f"data: expected one column of images, got {came}; {_listed(features)}; name one: image_column")
    return preferred[0] if preferred else found[0]


def find_label_column(features: datasets.Features, wanted: str | None) -> str | None:
    """The column that holds labels: the named one, the only one of class labels, or whole numbers named like labels.

    None where there is none or several could be meant. Raises DataError where the named one is no column of labels.
    """
    if wanted is not None:
        feature = features.get(wanted)
        if feature is None or not (_is_label(feature) or is_text(feature)):
            came = "no such column" if feature is None else f"a column of {feature}"
            raise UnknownColumnError(
                f"label_column: expected a column of labels, got {came} for {wanted!r}; {_listed(features)}"
            )
        return wanted
    named = [name for name in LABEL_NAMES if name in features and _is_label(features[name])]
    if named:
        return named[0]
    found = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    return found[0] if len(found) == 1 else None


def is_text(feature: Any) -> bool:
    """Whether a column holds strings."""
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _is_image(feature: Any) -> bool:
    return isinstance(feature, datasets.Image) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def _is_binary(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")


def _is_label(feature: Any) -> bool:
    if isinstance(feature, datasets.ClassLabel):
        return True
    return isinstance(feature, datasets.Value) and feature.dtype.removeprefix("u").startswith("int")


def _listed(features: datasets.Features) -> str:
    return f"the columns are {', '.join(features)}"
