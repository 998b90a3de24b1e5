"""Batches for pre-training, the same for any number of workers and from any step on."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from splatlearn.data.augment import RandomResizedCrop
from splatlearn.data.batch import Batch, Example, collate
from splatlearn.data.images import UnreadableImage
from splatlearn.data.order import sample_order
from splatlearn.data.randomness import Purpose, generator
from splatlearn.data.samples import DataError, ImageSource, Sample

TRIES = 100

AnyExample = TypeVar("AnyExample")
AnyBatch = TypeVar("AnyBatch")


class TrainingDataset(Dataset[AnyExample], ABC, Generic[AnyExample, AnyBatch]):
    """Samples of a source as training sees them: a pure function of (epoch, index) and the arguments.

    - `crop`: how images are cropped.
    - `seed`: in [0, 2**64).

    Raises ValueError for a seed out of range.
    """

    def __init__(self, source: ImageSource, crop: RandomResizedCrop, seed: int) -> None:
        generator(seed, 0, 0, Purpose.CROP)
        self.source = source
        self.crop = crop
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    @abstractmethod
    def __getitem__(self, index: tuple[int, int]) -> AnyExample:
        """The example of an epoch and a sample, given as a pair."""

    @staticmethod
    @abstractmethod
    def collate(examples: list[Any]) -> Any:
        """Put examples together to a batch."""

    def read(self, wanted: int) -> tuple[Sample, tuple[tuple[str, str], ...]]:
        """The wanted sample, or where it is unreadable the next readable one; and (name, reason) of the unreadable.

        Raises DataError when a hundred samples in a row are unreadable.
        """
        unreadable: list[tuple[str, str]] = []
        for step in range(min(TRIES, len(self))):
            try:
                return self.source[(wanted + step) % len(self)], tuple(unreadable)
            except UnreadableImage as error:
                unreadable.append((error.name, error.reason))
        name, reason = unreadable[0]
        raise DataError(
            f"data: expected readable images in {self.source.description}, got {len(unreadable)} unreadable ones in a "
            f"row, the first {name}: {reason}; repair or remove them"
        )


class PretrainingDataset(TrainingDataset[Example, Batch]):
    """Samples of a source as pre-training sees them: a pure function of (epoch, index) and the arguments.

    - `crop`: how images are cropped.
    - `patches`: N, the number of uniform numbers that come with an image for its mask.
    - `seed`: in [0, 2**64).

    Raises ValueError for a `patches` below one or a seed out of range.
    """

    def __init__(self, source: ImageSource, crop: RandomResizedCrop, patches: int, seed: int) -> None:
        if patches < 1:
            raise ValueError(f"patches: expected a positive number of patches, got {patches}")
        super().__init__(source, crop, seed)
        self.patches = patches

    def __getitem__(self, index: tuple[int, int]) -> Example:
        """The example of an epoch and a sample, given as a pair.

        An unreadable sample is replaced by the next readable one, with the randomness of the index that was asked
        for. Raises DataError when a hundred samples in a row are unreadable.
        """
        epoch, wanted = index
        sample, unreadable = self.read(wanted)
        return Example(
            image=self.crop(sample.image, generator(self.seed, epoch, wanted, Purpose.CROP)),
            noise=generator(self.seed, epoch, wanted, Purpose.MASK).random(self.patches, dtype=np.float32),
            index=wanted,
            unreadable=unreadable,
            enlarged=sample.name if self.crop.enlarges(sample.image) else None,
        )

    @staticmethod
    def collate(examples: list[Example]) -> Batch:
        """Put examples together to a batch."""
        return collate(examples)


class PretrainingLoader(Generic[AnyBatch]):
    """Batches of an epoch, in the order that `sample_order` gives its samples.

    - `batch_size`: B, samples in a batch of this process.
    - `workers`: processes that read and crop; 0 does it in this one. The batches are the same for any number.
    - `process`, `processes`: which of how many training processes this is; each gets its share of every step.
    - `pin_memory`: whether batches lie in page-locked memory, where there is a CUDA device.

    Raises ValueError for numbers out of range and DataError for fewer samples than one step takes.
    """

    def __init__(
        self,
        dataset: TrainingDataset[Any, AnyBatch],
        batch_size: int,
        workers: int = 0,
        process: int = 0,
        processes: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected a positive number, got {batch_size}")
        if workers < 0:
            raise ValueError(f"workers: expected 0 or more processes, got {workers}")
        if not 0 <= process < processes:
            raise ValueError(f"process: expected a number in [0, {processes}), got {process}")
        if len(dataset) < batch_size * processes:
            raise DataError(
                f"batch_size: expected at most the {len(dataset)} samples of {dataset.source.description} in a step, "
                f"got {batch_size * processes} ({batch_size} in each of {processes} processes); choose smaller batches"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.workers = workers
        self.process = process
        self.processes = processes
        self.pin_memory = pin_memory

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; samples left over after them wait for the next epoch's order."""
        return len(self.dataset) // (self.batch_size * self.processes)

    def indices(self, epoch: int, step: int) -> list[int]:
        """The samples of this process in a step of an epoch."""
        start = (step * self.processes + self.process) * self.batch_size
        order = sample_order(len(self.dataset), self.dataset.seed, epoch)
        return order(np.arange(start, start + self.batch_size)).tolist()

    def batches(self, epoch: int, first_step: int = 0, epochs: int = 1) -> Iterator[AnyBatch]:
        """Read the batches of an epoch from a step on, or of several epochs that follow each other.

        Workers live as long as the iterator, so that asking for several epochs at once spares starting them anew.
        Raises ValueError for an epoch or step out of range; the iterator raises DataError as the dataset does.
        """
        if epoch < 0 or epochs < 1:
            raise ValueError(f"epoch, epochs: expected one or more epochs from 0 on, got {epochs} from {epoch} on")
        if not 0 <= first_step <= self.steps_per_epoch:
            raise ValueError(f"first_step: expected a step in [0, {self.steps_per_epoch}], got {first_step}")
        return self._read(_Plan(self, epoch, first_step, epochs))

    def _read(self, plan: _Plan) -> Iterator[AnyBatch]:
        loader = DataLoader(
            _Shielded(self.dataset),
            batch_sampler=plan,
            num_workers=self.workers,
            collate_fn=partial(_collate_unless_failed, self.dataset),
            pin_memory=self.pin_memory and torch.cuda.is_available(),
            worker_init_fn=_leave_interrupts_to_parent,
            # DataLoader draws a number for its workers: not from the global generator, whose state is the caller's.
            generator=torch.Generator().manual_seed(0),
        )
        for batch in cast("Iterator[AnyBatch | DataError]", iter(loader)):
            if isinstance(batch, DataError):
                raise batch
            yield batch


class _Plan:
    """The (epoch, index) of every sample, batch by batch."""

    def __init__(self, loader: PretrainingLoader, epoch: int, first_step: int, epochs: int) -> None:
        self._loader = loader
        self._epochs = range(epoch, epoch + epochs)
        self._first_step = first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in self._epochs:
            first = self._first_step if epoch == self._epochs[0] else 0
            for step in range(first, self._loader.steps_per_epoch):
                yield [(epoch, index) for index in self._loader.indices(epoch, step)]


class _Shielded(Dataset[Any]):
    """Returns a DataError instead of raising it: DataLoader would wrap the message into a worker's traceback."""

    def __init__(self, dataset: TrainingDataset[Any, Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, index: tuple[int, int]) -> Any:
        try:
            return self._dataset[index]
        except DataError as error:
            return error


def _collate_unless_failed(dataset: TrainingDataset[Any, Any], examples: list[Any]) -> Any:
    for example in examples:
        if isinstance(example, DataError):
            return example
    return dataset.collate(examples)


def _leave_interrupts_to_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
