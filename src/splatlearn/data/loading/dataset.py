"""Samples as training sees them: a pure function of the epoch and the sample's index."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, Stream
from splatlearn.data.image_sets.samples import ImageSource, Order, SampleSource, StoredImage, StreamedSource
from splatlearn.data.labelled import stored_images
from splatlearn.data.loading.augment import RandomResizedCrop
from splatlearn.data.loading.batch import Batch, Example, collate
from splatlearn.data.order import sample_order
from splatlearn.images.errors import DataError, UnreadableSample

TRIES = 100

AnyExample = TypeVar("AnyExample")
AnyBatch = TypeVar("AnyBatch")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Request:
    """A batch that a worker is to read: its samples, for a stream the blocks that it and the next ones need, and the
    slot of shared memory that its images go to."""

    epoch: int
    indices: list[int]
    blocks: tuple[int, ...] = ()
    announcements: int = 1
    slot: int | None = None


@dataclass(frozen=True)
class Cropped:
    """A crop, uint8 [3, H, W], of which image, whether it was enlarged, and the generator as the crop left it,
    which the next crop moves on."""

    pixels: UInt8[np.ndarray, "3 H W"]
    name: str
    label: int | None
    enlarged: bool
    rng: np.random.Generator


@dataclass(frozen=True)
class Large:
    """The field of a batch that takes most of its memory: its name, and the shape and dtype that each example has."""

    field: str
    shape: tuple[int, ...]
    dtype: Any

    @property
    def size(self) -> int:
        """Bytes of one example."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class TrainingDataset(Dataset[AnyExample], ABC, Generic[AnyExample, AnyBatch]):
    """Samples of a source as training sees them: a pure function of (epoch, index) and the arguments.

    A subclass sets `large` and `unit`, the word for a sample in messages.
    """

    unit: ClassVar[str] = "image"
    large: Large

    def __init__(self, source: SampleSource, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: tuple[int, int]) -> AnyExample:
        """The example of an epoch and a sample, given as a pair; see `example`."""
        return self.example(*index)

    @abstractmethod
    def example(self, epoch: int, wanted: int, out: np.ndarray | None = None) -> AnyExample:
        """The example of an epoch and a sample; its large field goes to `out`, if that is given."""

    @staticmethod
    @abstractmethod
    def collate(examples: list[Any], large: np.ndarray | None = None) -> Any:
        """Put examples together to a batch; `large` is where theirs lies already, if they lie together."""

    def order(self, epoch: int) -> Order:
        """The order of an epoch: the source's own for a stream, else a keyed permutation."""
        if isinstance(self.source, StreamedSource):
            return self.source.order(self.seed, epoch)
        return sample_order(len(self), self.seed, epoch)

    def fetch(self, request: Request) -> None:
        """Called before the examples of a batch are asked for, to read at once what they need. Raises DataError."""
        return None

    def first_readable(self, wanted: int, read: Callable[[int], Read]) -> tuple[Read, tuple[tuple[str, str], ...]]:
        """What `read` makes of the wanted sample or the next readable one, and (name, reason) of those between.

        Raises DataError when a hundred samples in a row are unreadable.
        """
        unreadable: list[tuple[str, str]] = []
        for step in range(min(TRIES, len(self))):
            try:
                return read((wanted + step) % len(self)), tuple(unreadable)
            except UnreadableSample as error:
                unreadable.append((error.name, error.reason))
        name, reason = unreadable[0]
        raise DataError(
            f"data: expected readable {self.unit}s in {self.source.description}, got {len(unreadable)} unreadable ones "
            f"in a row, the first {name}: {reason}; repair or remove them"
        )


class ImageDataset(TrainingDataset[AnyExample, AnyBatch]):
    """Images of a source, cropped at random.

    - `crop`: how images are cropped.
    - `seed`: in [0, 2**64).

    Raises InputError for a seed out of range.
    """

    source: ImageSource

    def __init__(self, source: ImageSource, crop: RandomResizedCrop, seed: int) -> None:
        super().__init__(source, seed)
        self._crops = Stream(seed, Purpose.CROP)
        self.crop = crop
        self.large = Large("images", (3, crop.height, crop.width), np.dtype(np.uint8))
        self._fetched: dict[int, StoredImage] = {}

    def fetch(self, request: Request) -> None:
        """Read the image files of a batch at once, where the source has files. Raises DataError."""
        if isinstance(self.source, StreamedSource) and request.blocks:
            self.source.announce(request.blocks, request.announcements)
        stored = stored_images(self.source, request.indices)
        self._fetched = {} if stored is None else dict(zip(request.indices, stored, strict=True))

    def read_crop(
        self, epoch: int, wanted: int, out: UInt8[np.ndarray, "3 H W"] | None = None
    ) -> tuple[Cropped, tuple[tuple[str, str], ...]]:
        """The crop of the wanted sample in an epoch, in `out` if given, and (name, reason) of what was unreadable.

        In place of an unreadable sample comes the next readable one, with the wanted one's randomness.

        Raises DataError when a hundred samples in a row are unreadable.
        """
        return self.first_readable(wanted, lambda index: self._cropped(epoch, wanted, index, out))

    def _cropped(self, epoch: int, wanted: int, index: int, out: np.ndarray | None) -> Cropped:
        rng = self._crops.at(epoch, wanted)
        stored = self._fetched.get(index) or next(iter(stored_images(self.source, [index]) or ()), None)
        if stored is None:
            sample = self.source[index]
            pixels, size = self.crop(sample.image, rng, out), sample.image.size
            return Cropped(pixels, sample.name, sample.label, self.crop.enlarges(*size), rng)
        pixels, size = self.crop.of_file(stored, rng, out)
        return Cropped(pixels, stored.name, stored.label, self.crop.enlarges(*size), rng)


class PretrainingDataset(ImageDataset[Example, Batch]):
    """Samples of a source as pre-training sees them: a pure function of (epoch, index) and the arguments.

    - `crop`: how images are cropped.
    - `patches`: N, the number of uniform numbers that come with an image for its mask.
    - `seed`: in [0, 2**64).

    Raises InputError for a `patches` below one or a seed out of range.
    """

    def __init__(self, source: ImageSource, crop: RandomResizedCrop, patches: int, seed: int) -> None:
        if patches < 1:
            raise InputError(f"patches: expected a positive number of patches, got {patches}")
        super().__init__(source, crop, seed)
        self.patches = patches
        self._masks = Stream(seed, Purpose.MASK)

    def example(self, epoch: int, wanted: int, out: UInt8[np.ndarray, "3 H W"] | None = None) -> Example:
        """The example of an epoch and a sample; its pixels go to `out`, if that is given.

        An unreadable sample is replaced by the next readable one, with the randomness of the index that was asked
        for. Raises DataError when a hundred samples in a row are unreadable.
        """
        cropped, unreadable = self.read_crop(epoch, wanted, out)
        return Example(
            image=cropped.pixels,
            noise=self._masks.at(epoch, wanted).random(self.patches, dtype=np.float32),
            index=wanted,
            unreadable=unreadable,
            enlarged=cropped.name if cropped.enlarged else None,
        )

    @staticmethod
    def collate(examples: list[Example], large: UInt8[np.ndarray, "B 3 H W"] | None = None) -> Batch:
        """Put examples together to a batch; `large` is where their images lie already, if they lie together."""
        return collate(examples, large)
