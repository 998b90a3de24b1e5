"""The processes of a job: which this is, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

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
