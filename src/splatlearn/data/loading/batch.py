"""The example and the batch of pre-training, and the count of what could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from splatlearn.images.errors import DataError


@dataclass(frozen=True)
class Example:
    """One sample as pre-training sees it.

    `image` uint8 [3, H, W], `noise` in [0, 1) for each of N patches, `index` the sample asked for. `unreadable` holds
    (name, reason) of samples that the image stands in for, `enlarged` the name of an image smaller than the crop.
    """

    image: UInt8[np.ndarray, "3 H W"]
    noise: Float32[np.ndarray, " N"]
    index: int
    unreadable: tuple[tuple[str, str], ...] = ()
    enlarged: str | None = None


@dataclass(frozen=True)
class Batch:
    """Examples of pre-training, put together.

    - `images` uint8 [B, 3, H, W]: cropped pixels.
    - `noise` float32 [B, N]: uniform numbers whose ranks make the masks of N patches.
    - `indices` int64 [B]: which samples of the source were asked for.
    - `unreadable`: (name, reason) of samples that another stands in for.
    - `enlarged`: names of images that are smaller than the crop on a side.
    """

    images: UInt8[Tensor, "B 3 H W"]
    noise: Float32[Tensor, "B N"]
    indices: Int64[Tensor, " B"]
    unreadable: tuple[tuple[str, str], ...] = ()
    enlarged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def parts(self, count: int) -> list[Batch]:
        """Split into `count` parts, equal if that divides the batch; facts about samples are dropped."""
        cut = (each.chunk(count) for each in (self.images, self.noise, self.indices))
        return [Batch(images, noise, indices) for images, noise, indices in zip(*cut, strict=True)]

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which copies to a GPU can run beside its work."""
        return replace(
            self,
            images=self.images.pin_memory(),
            noise=self.noise.pin_memory(),
            indices=self.indices.pin_memory(),
        )


def collate(examples: list[Example], images: UInt8[np.ndarray, "B 3 H W"] | None = None) -> Batch:
    """Put examples of equal sizes together; the tensors share memory with fresh arrays.

    `images`: where the examples' images lie already, one after the other; it is shared too.
    """
    # NumPy stacks, because PyTorch's own operations may start OpenMP threads, which forked workers must not.
    return Batch(
        images=torch.from_numpy(np.stack([each.image for each in examples]) if images is None else images),
        noise=torch.from_numpy(np.stack([example.noise for example in examples])),
        indices=torch.from_numpy(np.array([example.index for example in examples], dtype=np.int64)),
        unreadable=tuple(bad for example in examples for bad in example.unreadable),
        enlarged=tuple(example.enlarged for example in examples if example.enlarged is not None),
    )


class UnreadableCounter:
    """Counts different unreadable samples; `reasons` maps their names to what was wrong, first seen first."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, unreadable: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Count samples given as (name, reason), and return those that were not known before."""
        fresh: list[tuple[str, str]] = []
        for name, reason in unreadable:
            if name not in self.reasons:
                self.reasons[name] = reason
                fresh.append((name, reason))
        return fresh

    def check(self, limit_share: float, seen: int) -> None:
        """Raise DataError when more than `limit_share` of the `seen` samples are unreadable, naming the first three.

        `seen` counts different samples: at most the size of the source, however many epochs have passed.
        """
        if len(self) <= limit_share * seen:
            return
        first = "; ".join(f"{name}: {reason}" for name, reason in list(self.reasons.items())[:3])
        raise DataError(
            f"data: expected at most {limit_share:.1%} of samples to be unreadable, got {len(self)} of {seen} "
            f"({first}{'; ...' if len(self) > 3 else ''}); repair or remove them, or allow a larger share"
        )
