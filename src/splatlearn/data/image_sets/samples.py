"""The protocol of a set of images, and a set in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer
from PIL import Image

from splatlearn.images.decoding import decode, to_rgb
from splatlearn.images.errors import DataError, UnreadableImage


@dataclass(frozen=True)
class Sample:
    """One image in RGB, the name that messages give it, and its class number if it has one."""

    image: Image.Image
    name: str
    label: int | None


@dataclass(frozen=True)
class StoredImage:
    """An image file as a source keeps it: its content or its path, None where there is neither; not yet decoded."""

    file: bytes | str | None
    name: str
    label: int | None

    def sample(self) -> Sample:
        """The image decoded. Raises UnreadableImage."""
        return Sample(decode(self.checked(), self.name), self.name, self.label)

    def checked(self) -> bytes | str:
        """The content or path. Raises UnreadableImage where there is none."""
        if self.file is None:
            raise UnreadableImage(self.name, "the row holds no image")
        return self.file

    def content(self) -> bytes:
        """The bytes of the file; none where it cannot be read."""
        if isinstance(self.file, bytes):
            return self.file
        try:
            return b"" if self.file is None else Path(self.file).read_bytes()
        except OSError:
            return b""


@runtime_checkable
class SampleSource(Protocol):
    """A set of samples of any kind with random access; reading a broken one raises UnreadableSample.

    `description` says in a phrase what the samples are; `class_names` names the labels, where they have names.
    """

    @property
    def description(self) -> str: ...

    @property
    def class_names(self) -> list[str] | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@runtime_checkable
class ImageSource(SampleSource, Protocol):
    """A set of images with random access; reading a broken one raises UnreadableImage."""

    def __getitem__(self, index: int, /) -> Sample: ...


@runtime_checkable
class StoredSource(ImageSource, Protocol):
    """An ImageSource of image files, which can be had without decoding them.

    Where `labels` is an attribute, it is the class numbers of all samples. It is no member of the protocol, because
    asking whether something is of a protocol reads its members, which for shards means to read them all.
    """

    def stored(self, indices: Sequence[int], /) -> list[StoredImage]: ...


@runtime_checkable
class Order(Protocol):
    """A bijection from positions in an epoch to sample indices."""

    def __call__(self, positions: Integer[np.ndarray, " P"], /) -> Integer[np.ndarray, " P"]: ...


@runtime_checkable
class StreamedSource(StoredSource, Protocol):
    """A StoredSource in blocks, with an order of its own that needs few of them at a time.

    `announce` begins to read blocks, and keeps those that the last `announcements` calls named.
    """

    def order(self, seed: int, epoch: int, /) -> Order: ...

    def announce(self, blocks: Sequence[int], announcements: int, /) -> None: ...


class ImageList:
    """Images in memory: Pillow images, or arrays uint8 [H, W, 3] of any sizes.

    `names` and `labels` go with the images one by one; `class_names` names the labels 0, 1, ...
    Raises DataError for lists of different lengths, no images, and arrays of other shapes or types.
    """

    def __init__(
        self,
        images: Sequence[Image.Image | np.ndarray],
        names: Sequence[str],
        labels: Sequence[int] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        if not images:
            raise DataError("images: expected at least one image, got an empty list")
        if len(names) != len(images):
            raise DataError(f"names: expected one for each of {len(images)} images, got {len(names)}")
        if labels is not None and len(labels) != len(images):
            raise DataError(f"labels: expected one for each of {len(images)} images, got {len(labels)}")
        for image, name in zip(images, names, strict=True):
            if isinstance(image, np.ndarray):
                _check_array(image, name)
        self._images = list(images)
        self._names = list(names)
        self._labels = None if labels is None else list(labels)
        self.class_names = class_names
        self.description = f"{len(images)} images in memory"

    def __len__(self) -> int:
        return len(self._images)

    @property
    def file_names(self) -> list[str]:
        """The names of all images."""
        return list(self._names)

    def __getitem__(self, index: int, /) -> Sample:
        image = self._images[index]
        rgb = Image.fromarray(image) if isinstance(image, np.ndarray) else to_rgb(image)
        label = None if self._labels is None else self._labels[index]
        return Sample(rgb, self._names[index], label)


def _check_array(image: np.ndarray, name: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(
            f"images: expected uint8 arrays [H, W, 3], got {image.dtype} {list(image.shape)} for {name!r}; "
            "convert it, with values in 0..255"
        )
