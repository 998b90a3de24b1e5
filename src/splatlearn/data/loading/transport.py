"""Transport of batches from the workers: images through shared memory that is made once, all else through the pipe.

PyTorch's own way makes new shared memory for every tensor of every batch, which costs page faults in both processes and
a connection each; small batches and small images feel it.
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
from jaxtyping import UInt8
from torch import Tensor


class Slots:
    """Places in shared memory that workers write the images of batches to; which one, the parent says.

    - `count`: how many; none where shared memory cannot be had, so that images take the pipe too.
    - `size`: bytes of each.
    """

    def __init__(self, count: int, size: int) -> None:
        self.memory: UInt8[Tensor, "S N"] = torch.empty(0, size, dtype=torch.uint8)
        if count:
            # Containers may allow little of it.
            with contextlib.suppress(RuntimeError):
                self.memory = torch.empty(count, size, dtype=torch.uint8).share_memory_()
        self.free = deque(range(len(self.memory)))

    def take(self) -> int | None:
        """A slot that nobody uses; None while there is none."""
        return self.free.popleft() if self.free else None

    def array(self, slot: int | None, shape: tuple[int, ...]) -> UInt8[np.ndarray, "B 3 H W"]:
        """A slot's memory in the shape of images; memory of its own without a slot."""
        if slot is None:
            return np.empty(shape, np.uint8)
        return self.memory[slot, : math.prod(shape)].numpy().reshape(shape)

    def tensor(self, slot: int, shape: tuple[int, ...]) -> UInt8[Tensor, "B 3 H W"]:
        """A slot's memory as images; when neither they nor a view of them is there any more, the slot is free again."""
        array = self.array(slot, shape)
        # The storage of the tensor, which all its views share, holds the array until it goes.
        weakref.finalize(array, self.free.append, slot)
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Parcel:
    """A batch that has been packed: its class, its fields with arrays in place of tensors, and where its images are."""

    kind: type
    contents: dict[str, Any]
    slot: int | None
    shape: tuple[int, ...]


def pack(batch: Any, slot: int | None) -> Parcel:
    """Take a batch, a dataclass with `images` uint8 [B, 3, H, W], apart; images that lie in a slot stay there."""
    contents = {field.name: getattr(batch, field.name) for field in fields(batch)}
    shape = tuple(contents["images"].shape)
    if slot is not None:
        del contents["images"]
    arrays = {name: value.numpy() for name, value in contents.items() if isinstance(value, Tensor)}
    return Parcel(type(batch), {**contents, **arrays}, slot, shape)


def unpack(parcel: Parcel, slots: Slots) -> Any:
    """The batch of a parcel; its images keep the slot for as long as they are there."""
    contents = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in parcel.contents.items()
    }
    if parcel.slot is not None:
        contents["images"] = slots.tensor(parcel.slot, parcel.shape)
    return parcel.kind(**contents)
