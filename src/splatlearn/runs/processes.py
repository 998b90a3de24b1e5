"""The processes of a job: which this is, what they tell each other, and work that is dealt out to some."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from splatlearn.core.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes:
    """The processes that work on one job, or this one alone.

    - `device`: on which this process computes.
    - `rank`: the number of this process, of `count`.
    - `control`: a process group of torch.distributed over the CPU, apart from that of the gradients, so that messages
      about the job wait for no device. None for one process.
    """

    def __init__(self, device: torch.device, rank: int = 0, count: int = 1, control: Any = None) -> None:
        self.device, self.rank, self.count, self.control = device, rank, count, control

    @property
    def main(self) -> bool:
        """Whether this is the main process, which writes, draws and prints."""
        return self.rank == 0

    def first(self, action: Callable[[], Result]) -> Result:
        """Run an action on the main process, and return its result or raise its exception on all processes."""
        if self.count == 1:
            return action()
        told: list[Any] = [None, None]
        if self.main:
            try:
                told[0] = action()
            except Exception as error:
                told[1] = error
        dist.broadcast_object_list(told, src=0, group=self.control)
        if told[1] is not None:
            raise told[1]
        return told[0]

    def gather(self, value: Result) -> list[Result]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.control)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor on the CPU over all processes."""
        if self.count == 1:
            return values
        total = values.clone()
        dist.all_reduce(total, group=self.control)
        return total / self.count

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            dist.barrier(group=self.control)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be shared out over processes, put together; all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def bounded_map(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    processes: int,
    ahead: int = 4,
    begin: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """`map` over processes, in order, that takes at most `ahead` jobs more for each than are done.

    One process works here. `begin` is called first in each further process. Jobs that wait are dropped when the
    iterator is closed. Raises InputError for fewer than one process.
    """
    if processes < 1:
        raise InputError(f"processes: expected at least 1, got {processes}")
    if processes == 1:
        yield from map(function, jobs)
        return
    # Forked processes would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=begin) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) >= ahead * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
