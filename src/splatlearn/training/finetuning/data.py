"""Labelled images as fine-tuning sees them: cropped, with what the augmentation is to do to each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from splatlearn.data import ImageSource, RandomResizedCrop
from splatlearn.data.loading.dataset import ImageDataset
from splatlearn.images import DataError
from splatlearn.training.finetuning.augment import Draws, draw_operations
from splatlearn.training.finetuning.mixing import Box, draw_box
from splatlearn.training.finetuning.recipe import AugmentOptions


@dataclass(frozen=True)
class LabelledExample:
    """One training image: uint8 [3, H, W], its class, RandAugment's draws, and the box that is erased."""

    image: UInt8[np.ndarray, "3 H W"]
    label: int
    draws: Draws
    box: Box
    index: int
    unreadable: tuple[tuple[str, str], ...] = ()
    enlarged: str | None = None


@dataclass(frozen=True)
class LabelledBatch:
    """A batch of examples.

    - `images` uint8 [B, 3, H, W], `labels` int64 [B]: cropped pixels and classes.
    - `operations` int64 [B, R], `strengths` float32 [B, R]: what RandAugment does to each.
    - `boxes` int64 [B, 4]: what is erased, left, top, right, bottom in pixels; empty for nothing.
    - `indices` int64 [B], `unreadable`, `enlarged`: as in a batch of pre-training.
    """

    images: UInt8[Tensor, "B 3 H W"]
    labels: Int64[Tensor, " B"]
    operations: Int64[Tensor, "B R"]
    strengths: Float32[Tensor, "B R"]
    boxes: Int64[Tensor, "B 4"]
    indices: Int64[Tensor, " B"]
    unreadable: tuple[tuple[str, str], ...] = ()
    enlarged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def pin_memory(self) -> LabelledBatch:
        """The same batch in page-locked memory, from which copies to a GPU can run beside its work."""
        # The operations stay: they are read on the CPU.
        names = ("images", "labels", "strengths", "boxes")
        return replace(self, **{name: getattr(self, name).pin_memory() for name in names})


class FinetuneDataset(ImageDataset[LabelledExample, LabelledBatch]):
    """Labelled samples with the draws of their augmentation: a pure function of (epoch, index) and the arguments.

    Raises InputError for a seed outside [0, 2**64), and DataError on reading a sample without a label.
    """

    def __init__(self, source: ImageSource, crop: RandomResizedCrop, options: AugmentOptions, seed: int) -> None:
        super().__init__(source, crop, seed)
        self.options = options

    def example(self, epoch: int, wanted: int, out: UInt8[np.ndarray, "3 H W"] | None = None) -> LabelledExample:
        """The example of an epoch and a sample; an unreadable one is replaced by the next, its label's too."""
        cropped, unreadable = self.read_crop(epoch, wanted, out)
        if cropped.label is None:
            raise DataError(f"data: expected a label of every image, got none for {cropped.name}")
        # What follows the crop goes on with its stream.
        rng = cropped.rng
        count = self.options.rand_augment_ops if self.options.rand_augment > 0 else 0
        return LabelledExample(
            image=cropped.pixels,
            label=cropped.label,
            draws=draw_operations(rng, self.options.rand_augment, count),
            box=draw_box(rng, self.options.erase, self.crop.height, self.crop.width),
            index=wanted,
            unreadable=unreadable,
            enlarged=cropped.name if cropped.enlarged else None,
        )

    @staticmethod
    def collate(examples: list[LabelledExample], large: UInt8[np.ndarray, "B 3 H W"] | None = None) -> LabelledBatch:
        """Collate examples into a batch. `large` is the array of their images if those are contiguous already."""
        # NumPy stacks, because PyTorch's own operations may start OpenMP threads, which forked workers must not.
        return LabelledBatch(
            images=torch.from_numpy(np.stack([each.image for each in examples]) if large is None else large),
            labels=torch.from_numpy(np.array([example.label for example in examples], dtype=np.int64)),
            operations=torch.from_numpy(np.stack([example.draws.operations for example in examples])),
            strengths=torch.from_numpy(np.stack([example.draws.strengths for example in examples])),
            boxes=torch.from_numpy(np.array([example.box for example in examples], dtype=np.int64)),
            indices=torch.from_numpy(np.array([example.index for example in examples], dtype=np.int64)),
            unreadable=tuple(bad for example in examples for bad in example.unreadable),
            enlarged=tuple(example.enlarged for example in examples if example.enlarged is not None),
        )
