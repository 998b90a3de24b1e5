"""Features of images, extracted once: what all probes work on.

Letters in shapes: N images, D numbers of a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.data import ImageSource, UnreadableCounter
from splatlearn.evaluation.features.embedders import Embedder
from splatlearn.evaluation.features.reading import CenterCrop, ReadAhead, Transform
from splatlearn.evaluation.masked.reconstruction import evaluating

Precision = Literal["fp32", "bf16"]
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Extraction:
    """Options of feature extraction.

    - `batch_size`: images of one forward pass.
    - `device`, `precision`: where, and whether matrices are multiplied in bf16 ("bf16") or float32 ("fp32").
    - `workers`: threads that read, decode and crop ahead.
    - `max_unreadable`: share of the images that may be unreadable; those are left out.

    Raises InputError for numbers out of range and unknown names.
    """

    batch_size: int = 64
    device: str | torch.device = "cpu"
    precision: Precision = "fp32"
    workers: int = 1
    max_unreadable: float = 0.05

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("workers", self.workers)):
            if value < 1:
                raise InputError(f"{name}: expected a positive number, got {value}")
        if self.precision not in get_args(Precision):
            raise InputError(f"precision: expected one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if not 0 <= self.max_unreadable <= 1:
            raise InputError(f"max_unreadable: expected a number between 0 and 1, got {self.max_unreadable}")


@dataclass(frozen=True, eq=False)
class Extracted:
    """Features float32 [N, D] of the readable samples at `indices` [N]; the others by name, with the reason."""

    values: Float[Tensor, "N D"]
    indices: Int64[Tensor, " N"]
    unreadable: dict[str, str]


@dataclass(frozen=True, eq=False)
class Features:
    """Features float32 with labels: of N images to learn from and of M to be judged on.

    `classes` names the labels 0, 1, ... Raises InputError when sizes or labels do not fit or a value is not finite.
    """

    train: Float[Tensor, "N D"]
    train_labels: Int64[Tensor, " N"]
    val: Float[Tensor, "M D"]
    val_labels: Int64[Tensor, " M"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, values, labels in (
            ("train", self.train, self.train_labels),
            ("val", self.val, self.val_labels),
        ):
            if values.ndim != 2 or not len(values) or labels.shape != values.shape[:1]:
                raise InputError(
                    f"{name}: expected features [N, D] and N labels, got {list(values.shape)} and {list(labels.shape)}"
                )
            if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
                raise InputError(
                    f"{name}_labels: expected class numbers in [0, {len(self.classes)}), got "
                    f"{int(labels.min())} to {int(labels.max())}"
                )
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"{name}: expected finite features, got NaN or infinity; the weights may be broken")
        if self.train.shape[1] != self.val.shape[1]:
            raise InputError(
                f"val: expected features of {self.train.shape[1]} numbers like train, got {self.val.shape[1]}"
            )

    def standardized(self) -> Features:
        """The same with each number's mean taken off and divided by its standard deviation, both those of train.

        A number that is constant in train becomes 0 there and keeps its distance from it in val.
        """
        mean = self.train.double().mean(dim=0)
        deviation = self.train.double().std(dim=0, correction=0)
        scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0)
        train, val = (((each.double() - mean) / scale).float() for each in (self.train, self.val))
        return replace(self, train=train, val=val)

    def chosen(self, indices: Int64[Tensor, " K"]) -> Features:
        """The same with some of the images to learn from."""
        return replace(self, train=self.train[indices], train_labels=self.train_labels[indices])


def extract(
    embedder: Embedder,
    images: ImageSource,
    extraction: Extraction | None = None,
    transform: Transform | None = None,
    progress: Progress | None = None,
) -> Extracted:
    """Features of all images of a source, in its order.

    - `transform`: how an image becomes the embedder's; None takes the largest central box, resized.

    Threads read ahead while the embedder works. Unreadable images are left out, counted and named. The same arguments
    give the same bits on one device. Raises DataError when more images are unreadable than allowed.
    """
    extraction = extraction or Extraction()
    device = torch.device(extraction.device)
    transform = transform or CenterCrop(*embedder.image_size)
    embedder = embedder.to(device)
    made: list[Tensor] = []
    kept: list[int] = []
    counter = UnreadableCounter()
    reader = ReadAhead(images, transform, extraction.batch_size, extraction.workers)
    with evaluating(embedder), reader as batches:
        for done, batch in batches:
            counter.add(batch.unreadable)
            # A share of very few images says little: one bad file in the first batch is not a bad set.
            counter.check(extraction.max_unreadable, max(done, min(len(images), 1000)))
            if len(batch.indices):
                pixels = torch.from_numpy(batch.pixels).to(device, non_blocking=True).float() / 255
                with torch.autocast(device.type, torch.bfloat16, enabled=extraction.precision == "bf16"):
                    made.append(embedder(pixels).float())
                kept.extend(batch.indices)
            if progress is not None:
                progress("features", done, len(images))
    counter.check(extraction.max_unreadable, len(images))
    if not made:
        counter.check(0.0, len(images))
    return Extracted(torch.cat(made).cpu(), torch.tensor(kept, dtype=torch.int64), counter.reasons)
