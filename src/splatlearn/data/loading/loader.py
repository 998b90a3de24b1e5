"""Batches for pre-training, the same for any number of workers and from any step on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, cast

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset

from splatlearn.core.errors import InputError
from splatlearn.data.image_sets.samples import Order
from splatlearn.data.loading.batch import Batch
from splatlearn.data.loading.dataset import AnyBatch, PretrainingDataset, Request, TrainingDataset
from splatlearn.data.loading.transport import Parcel, Slots, pack, unpack
from splatlearn.data.shards.stream_order import WindowedOrder
from splatlearn.images.errors import DataError

PREFETCHED = 2
"""Batches that each worker is ahead."""
IN_USE = 2
"""Batches that may be kept while others come, before their images take a slower way."""

__all__ = ["Batch", "PretrainingDataset", "PretrainingLoader", "TrainingDataset"]


class PretrainingLoader(Generic[AnyBatch]):
    """Batches of an epoch, in the dataset's order of its samples.

    - `batch_size`: B, samples in a batch of this process.
    - `workers`: processes that read and crop; 0 does it in this one. The batches are the same for any number.
    - `process`, `processes`: which of how many training processes this is; each gets its share of every step.
    - `pin_memory`: whether batches lie in page-locked memory, where there is a CUDA device.

    Raises InputError for numbers out of range and DataError for fewer samples than one step takes.
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
            raise InputError(f"batch_size: expected a positive number, got {batch_size}")
        if workers < 0:
            raise InputError(f"workers: expected 0 or more processes, got {workers}")
        if not 0 <= process < processes:
            raise InputError(f"process: expected a number in [0, {processes}), got {process}")
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
        return self.dataset.order(epoch)(self._positions(step)).tolist()

    def request(self, order: Order, epoch: int, step: int) -> Request:
        """The request to a worker for one step, given the order of the epoch."""
        positions = self._positions(step)
        indices = order(positions).tolist()
        if not isinstance(order, WindowedOrder):
            return Request(epoch, indices)
        # A worker comes back to a lane after so many of its batches, and keeps the lane's blocks until then.
        per_round = self.batch_size * self.processes * max(1, self.workers)
        return Request(epoch, indices, tuple(order.blocks(positions)), 1 + -(-order.cycle // per_round))

    def _positions(self, step: int) -> Int64[np.ndarray, " B"]:
        start = (step * self.processes + self.process) * self.batch_size
        return np.arange(start, start + self.batch_size)

    def batches(self, epoch: int, first_step: int = 0, epochs: int = 1) -> Iterator[AnyBatch]:
        """Read the batches of an epoch from a step on, or of several epochs that follow each other.

        Workers live as long as the iterator, so that asking for several epochs at once spares starting them anew.
        Raises InputError for an epoch or step out of range; the iterator raises DataError as the dataset does.
        """
        if epoch < 0 or epochs < 1:
            raise InputError(
                f"epoch, epochs: expected epoch of at least 0 and epochs of at least 1, got {epoch} and {epochs}"
            )
        if not 0 <= first_step <= self.steps_per_epoch:
            raise InputError(f"first_step: expected a step in [0, {self.steps_per_epoch}], got {first_step}")
        return self._read(_Plan(self, epoch, first_step, epochs))

    def _read(self, plan: _Plan) -> Iterator[AnyBatch]:
        loader = DataLoader(
            _Packing(self.dataset, plan.slots, packed=self.workers > 0),
            batch_sampler=cast("Any", plan),  # of requests in place of lists: they go to `__getitems__` as they are
            num_workers=self.workers,
            collate_fn=_only,
            prefetch_factor=PREFETCHED if self.workers else None,
            worker_init_fn=_leave_signals_to_parent,
            # DataLoader draws a number for its workers: not from the global generator, whose state is the caller's.
            generator=torch.Generator().manual_seed(0),
        )
        pin = self.pin_memory and torch.cuda.is_available()
        for read in cast("Iterator[Any]", iter(loader)):
            if isinstance(read, DataError):
                raise read
            batch = unpack(read, plan.slots) if isinstance(read, Parcel) else read
            yield batch.pin_memory() if pin else batch


class _Plan:
    """Requests to the workers, batch by batch, with the slots that they write to."""

    def __init__(self, loader: PretrainingLoader, epoch: int, first_step: int, epochs: int) -> None:
        self._loader = loader
        self._epochs = range(epoch, epoch + epochs)
        self._first_step = first_step
        # A worker is asked for the next batch just before the oldest one is handed over; two may be in use.
        count = PREFETCHED * loader.workers + 1 + IN_USE if loader.workers else 0
        self.slots = Slots(count, loader.batch_size * loader.dataset.large.size)

    def __iter__(self) -> Iterator[Request]:
        for epoch in self._epochs:
            first = self._first_step if epoch == self._epochs[0] else 0
            order = self._loader.dataset.order(epoch)
            for step in range(first, self._loader.steps_per_epoch):
                yield replace(self._loader.request(order, epoch, step), slot=self.slots.take())


class _Packing(Dataset[Any]):
    """Whole batches, packed for the way from a worker where there are workers.

    A DataError is returned instead of raised: DataLoader would wrap the message into a worker's traceback.
    """

    def __init__(self, dataset: TrainingDataset[Any, Any], slots: Slots, packed: bool) -> None:
        self._dataset = dataset
        self._slots = slots
        self._packed = packed

    def __getitems__(self, request: Request) -> list[Any]:
        large = self._dataset.large
        # Crops are written to where the batch lies: stacking them later would move every pixel once more.
        places = self._slots.array(request.slot, (len(request.indices), *large.shape), large.dtype)
        try:
            self._dataset.fetch(request)
            examples = [
                self._dataset.example(request.epoch, index, place)
                for index, place in zip(request.indices, places, strict=True)
            ]
        except DataError as error:
            return [error]
        batch = self._dataset.collate(examples, places)
        return [pack(batch, request.slot, large.field) if self._packed else batch]


def _only(batches: list[Any]) -> Any:
    return batches[0]


def _leave_signals_to_parent(worker: int) -> None:
    """Schedulers signal whole process groups; the parent still needs batches to end its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # The second SIGTERM is meant for the worker: it is how DataLoader ends one that hangs.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
