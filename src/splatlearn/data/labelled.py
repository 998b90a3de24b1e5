"""Labelled samples in a training and a validation part: what probes and fine-tuning read.

They are images unless a source has others, such as splat sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from splatlearn.core.errors import some_of
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data.image_sets.samples import ImageSource, SampleSource, StoredImage, StoredSource
from splatlearn.data.source import open_source
from splatlearn.images.errors import DataError, UnknownColumnError, UnknownSplitError, UnreadableImage
from splatlearn.images.left_out import LeftOut

VAL_SHARE = 0.2
"""Share of each class that is held out where the data has no validation part."""
SPLIT_SEED = 0
VAL_SPLITS = ("val", "test")
"""Splits that are validated on, in order of preference."""


class LabelledImages:
    """The samples of a source at `indices`, each with a class number: a SampleSource whose labels are known at once.

    - `labels` int64 [N]: class numbers, whatever numbers the source uses.
    - `left_out`: samples of the source that have no label.

    Reading a sample raises UnreadableImage as the source does.
    """

    def __init__(
        self,
        source: SampleSource,
        indices: Int64[np.ndarray, " N"],
        labels: Int64[np.ndarray, " N"],
        class_names: Sequence[str],
        left_out: tuple[LeftOut, ...] = (),
    ) -> None:
        self.source = source
        self.left_out = left_out
        self.indices = indices
        self.labels = labels
        self.class_names = list(class_names)
        self.description = f"{len(indices)} labelled images of {source.description}"

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Any:
        return replace(self.source[int(self.indices[index])], label=int(self.labels[index]))

    def contents(self, start: int, stop: int) -> list[bytes]:
        """Stored data of a range of samples: the image files' bytes, or the pixels if there are no files."""
        return stored_contents(self.source, self.indices[start:stop].tolist())

    def part(self, chosen: Int64[np.ndarray, " M"]) -> LabelledImages:
        """The samples at some positions."""
        return LabelledImages(self.source, self.indices[chosen], self.labels[chosen], self.class_names, self.left_out)


@dataclass(frozen=True)
class Labelled:
    """Labelled images: `train`, `val`, the names of the classes by their number, and a phrase on where val is from."""

    train: LabelledImages
    val: LabelledImages
    classes: tuple[str, ...]
    split: str


def open_labelled(data: str | Path, image_column: str | None = None, label_column: str | None = None) -> Labelled:
    """Open labelled images: a folder `class/*.jpg`, with or without train and val above, parquet files or a Hub name.

    Labels are class folders, numbers or strings. Without a split val (or test) a fifth of each class is held out, the
    same at every call. `image_column`, `label_column`: columns of a table; None finds them.

    Raises DataError as `open_source` and `labelled_parts` do.
    """
    train = _open(data, "train", image_column, label_column)
    for split in VAL_SPLITS:
        try:
            return labelled_parts(train, _open(data, split, image_column, label_column), f"split {split}")
        except UnknownSplitError:
            continue
    return labelled_parts(train)


def labelled_parts(
    train: SampleSource, val: SampleSource | None = None, split: str = "a source of its own"
) -> Labelled:
    """Put a training and a validation source together, their classes matched by name; samples without label are left.

    - `val`: None holds out a fifth of each class of `train` (at least one image), by a keyed order.
    - `split`: what to call the origin of `val`.

    Raises DataError for sources without labels, fewer than two classes, and classes that one part lacks.
    """
    numbers = [_labels(source) for source in ((train,) if val is None else (train, val))]
    sources = [train] if val is None else [train, val]
    names = [_names(source, labels) for source, labels in zip(sources, numbers, strict=True)]
    classes = _ordered({name for each in names for name in each.values()}, sources)
    if len(classes) < 2:
        raise DataError(f"data: expected at least two classes, got only {classes[0]!r} in {train.description}")
    places = {name: place for place, name in enumerate(classes)}
    parts = [
        _labelled(source, labels, {number: places[name] for number, name in each.items()}, classes)
        for source, labels, each in zip(sources, numbers, names, strict=True)
    ]
    if val is None:
        held_out, split = _held_out(parts[0], classes), f"{VAL_SHARE:.0%} of each class of train, held out"
        rest = np.setdiff1d(np.arange(len(parts[0])), held_out)
        parts = [parts[0].part(rest), parts[0].part(held_out)]
    for name, part in zip(("train", "val"), parts, strict=True):
        _check_classes(name, part, classes)
    return Labelled(parts[0], parts[1], tuple(classes), split)


def stored_contents(source: SampleSource, indices: Sequence[int]) -> list[bytes]:
    """The bytes of the image files behind samples of a source, or of their pixels; empty for those without either."""
    stored = stored_images(source, indices)
    if stored is not None:
        return [image.content() for image in stored]
    if isinstance(source, LabelledImages):
        return stored_contents(source.source, source.indices[list(indices)].tolist())
    return [_pixels(source, index) for index in indices]


def stored_images(source: SampleSource, indices: Sequence[int]) -> list[StoredImage] | None:
    """The image files behind samples of a source, with its labels; None for a source of something else than files."""
    if isinstance(source, StoredSource):
        return source.stored(indices)
    if not isinstance(source, LabelledImages):
        return None
    stored = stored_images(source.source, source.indices[list(indices)].tolist())
    labels = source.labels[list(indices)].tolist()
    return stored and [replace(image, label=label) for image, label in zip(stored, labels, strict=True)]


def _open(data: str | Path, split: str, image_column: str | None, label_column: str | None) -> ImageSource:
    from splatlearn.data.image_sets.table import LABEL_NAMES

    source = open_source(data, split, image_column, label_column)
    if label_column is not None or any(label is not None for label in _labels(source)):
        return source
    # Columns of text are labels only where someone says so; that these images have labels is known here.
    for name in LABEL_NAMES:
        try:
            return open_source(data, split, image_column, name)
        except UnknownColumnError:
            continue
    return source


def _labels(source: SampleSource) -> list[int | None]:
    """The labels of all samples, without decoding images where the source's rows say them."""
    known = getattr(source, "labels", None)
    if known is not None:
        return [None if label is None or label < 0 else int(label) for label in known]
    return [_label(source, index) for index in range(len(source))]


def _label(source: SampleSource, index: int) -> int | None:
    try:
        return source[index].label
    except UnreadableImage:
        return None


def _names(source: SampleSource, labels: list[int | None]) -> dict[int, str]:
    """Label to class name, for the labels that occur."""
    numbers = sorted({label for label in labels if label is not None})
    if not numbers:
        raise DataError(
            f"data: expected labelled images, got {source.description} without a label; sort a folder's images into "
            "two or more class folders (FOLDER/train/CLASS/*.jpg, FOLDER/val/CLASS/*.jpg), or name a table's column "
            "of labels: label_column"
        )
    known = _distinct(source.class_names)
    if known is None:
        return {number: str(number) for number in numbers}
    if numbers[-1] >= len(known):
        raise DataError(
            f"data: expected labels below {len(known)}, the number of class names of {source.description}, "
            f"got {numbers[-1]}"
        )
    return {number: known[number] for number in numbers}


def _distinct(names: list[str] | None) -> list[str] | None:
    """Class names with their numbers where two classes share one, as the two cranes of ImageNet do."""
    if names is None or len(set(names)) == len(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names)]


def _ordered(names: set[str], sources: Iterable[SampleSource]) -> list[str]:
    """Class names in the order that the sources give them, or by number."""
    known = [name for source in sources for name in _distinct(source.class_names) or ()]
    if known:
        return [name for name in dict.fromkeys(known) if name in names] + sorted(names - set(known))
    return sorted(names, key=int)


def _labelled(
    source: SampleSource, labels: list[int | None], places: dict[int, int], classes: list[str]
) -> LabelledImages:
    indices = np.array([index for index, label in enumerate(labels) if label is not None], dtype=np.int64)
    numbers = np.array([places[label] for label in labels if label is not None], dtype=np.int64)
    unlabelled = [index for index, label in enumerate(labels) if label is None]
    left_out = LeftOut()
    if unlabelled:
        stored = stored_images(source, unlabelled[:1])
        left_out.add("images without a label", stored[0].name if stored else str(unlabelled[0]), len(unlabelled))
    return LabelledImages(source, indices, numbers, classes, (left_out,) if left_out else ())


def _held_out(images: LabelledImages, classes: list[str]) -> Int64[np.ndarray, " M"]:
    """Positions of the images to validate on: the first of each class in a keyed order."""
    chosen = []
    for place, name in enumerate(classes):
        members = np.flatnonzero(images.labels == place)
        if len(members) < 2:
            raise DataError(
                f"data: expected a split val, or at least two images of each class so that one can be held out, got "
                f"{len(members)} of {name!r} in {images.source.description}"
            )
        order = generator(SPLIT_SEED, 0, place, Purpose.SPLIT).permutation(len(members))
        chosen.append(members[order[: max(1, round(VAL_SHARE * len(members)))]])
    return np.sort(np.concatenate(chosen))


def _check_classes(part: str, images: LabelledImages, classes: list[str]) -> None:
    counts = np.bincount(images.labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"data: expected images of all {len(classes)} classes in {part}, got none of "
            f"{some_of(map(repr, missing), 3)} in {images.source.description}; "
            "add some, or leave these classes out of both parts"
        )


def _pixels(source: SampleSource, index: int) -> bytes:
    try:
        image = source[index].image
    except UnreadableImage:
        return b""
    return f"{image.width}x{image.height} ".encode() + image.tobytes()
