"""Transport of batches from the workers: their largest field through shared memory, all else through the pipe.

The shared memory is made once. PyTorch's own way makes new shared memory for every tensor of every batch, which costs
page faults in both processes and a connection each; small batches and small images feel it.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections import deque
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor


class Slots:
    """Places in shared memory that workers write images, or what else is large, to; the parent says which one.

    - `count`: how many; none where shared memory cannot be had, so that all of a batch takes the pipe.
    - `size`: bytes of each.
    """

    def __init__(self, count: int, size: int) -> None:
        self.memory = torch.empty(0, size, dtype=torch.uint8)
        if count:
            # Containers may allow little of it.
            with contextlib.suppress(RuntimeError):
                self.memory = torch.empty(count, size, dtype=torch.uint8).share_memory_()
        self.free = deque(range(len(self.memory)))

    def take(self) -> int | None:
        """A slot that nobody uses; None while there is none."""
        return self.free.popleft() if self.free else None

    def array(self, slot: int | None, shape: tuple[int, ...], dtype: Any = np.uint8) -> Shaped[np.ndarray, "*shape"]:
        """A slot's memory as an array; memory of its own without a slot."""
        if slot is None:
            return np.empty(shape, dtype)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self.memory[slot, :size].numpy().view(dtype).reshape(shape)

    def tensor(self, slot: int, shape: tuple[int, ...], dtype: Any = np.uint8) -> Shaped[Tensor, "*shape"]:
        """A slot's memory as a tensor; when neither it nor a view of it is there any more, the slot is free again."""
        array = self.array(slot, shape, dtype)
        # The storage of the tensor, which all its views share, holds the array until it goes.
        weakref.finalize(array, self.free.append, slot)
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Parcel:
    """A batch that has been packed: its class, its fields with arrays in place of tensors, and where the large one is.

    - `large`: name of the field that lies in the slot; `shape`, `dtype`: of its array.
    """

    kind: type
    contents: dict[str, Any]
    slot: int | None
    shape: tuple[int, ...]
    large: str
    dtype: Any


def pack(batch: Any, slot: int | None, large: str = "images") -> Parcel:
    """Take a batch, a dataclass with tensors, apart; its field `large` stays in the slot, if it lies in one."""
    contents = {field.name: getattr(batch, field.name) for field in fields(batch)}
    arrays = {name: value.numpy() for name, value in contents.items() if isinstance(value, Tensor)}
    shape, dtype = arrays[large].shape, arrays[large].dtype
    packed = {**contents, **arrays}
    if slot is not None:
        del packed[large]
    return Parcel(type(batch), packed, slot, shape, large, dtype)


def unpack(parcel: Parcel, slots: Slots) -> Any:
    """The batch of a parcel; its large field keeps the slot for as long as it is there."""
    contents = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in parcel.contents.items()
    }
    if parcel.slot is not None:
        contents[parcel.large] = slots.tensor(parcel.slot, parcel.shape, parcel.dtype)
    return parcel.kind(**contents)
