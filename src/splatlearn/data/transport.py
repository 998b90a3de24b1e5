"""How batches come from the workers: images through memory that is shared once, all else through the pipe.

PyTorch's own way makes new shared memory for every tensor of every batch, which costs page faults in both processes and
a connection each; small batches and small images feel it.
"""

from __future__ import annotations

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
            try:
                self.memory = torch.empty(count, size, dtype=torch.uint8).share_memory_()
            except RuntimeError:  # containers may allow little of it
                return

    def __len__(self) -> int:
        return len(self.memory)


@dataclass(frozen=True)
class Parcel:
    """A batch that has been packed: its class, its fields with arrays in place of tensors, and where its images are."""

    kind: type
    contents: dict[str, Any]
    slot: int | None
    shape: tuple[int, ...]


def pack(batch: Any, slots: Slots, slot: int | None) -> Parcel:
    """Write the images of a batch, a dataclass with `images` uint8 [B, 3, H, W], to a slot, if it has the room."""
    contents = {field.name: getattr(batch, field.name) for field in fields(batch)}
    images: Tensor = contents["images"]
    if slot is not None and images.numel() <= slots.memory.shape[1]:
        np.copyto(slots.memory[slot, : images.numel()].numpy(), images.numpy().reshape(-1))
        del contents["images"]
    else:
        slot = None
    arrays = {name: value.numpy() for name, value in contents.items() if isinstance(value, Tensor)}
    return Parcel(type(batch), {**contents, **arrays}, slot, tuple(images.shape))


def unpack(parcel: Parcel, slots: Slots, pin: bool) -> Any:
    """The batch of a parcel, in memory of its own: page-locked if `pin`, by the batch's `pin_memory`."""
    contents = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in parcel.contents.items()
    }
    if parcel.slot is not None:
        shared = slots.memory[parcel.slot, : int(np.prod(parcel.shape))].view(parcel.shape)
        # Pinning copies; without it the slot's next batch would overwrite this one.
        contents["images"] = shared if pin else shared.clone()
    batch = parcel.kind(**contents)
    return batch.pin_memory() if pin else batch
