"""Accuracy of a classifier on validation images."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from splatlearn.data import ImageSource, SampleSource, SplatDataset, UnreadableCounter, resize_center_crop
from splatlearn.images import DataError
from splatlearn.images.errors import UnreadableSample
from splatlearn.models.channels import fit_channels
from splatlearn.runs.processes import Processes

READ_AHEAD = 4
"""Number of batches to prefetch."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Scores:
    """Share of images classified rightly, mean cross-entropy, and how many images there were."""

    top1: float
    loss: float
    images: int


class ValidationSamples(ABC):
    """The samples to validate on, in batches, read by threads.

    - `max_unreadable`: share of unreadable samples above which reading raises DataError; those below are left out.
    """

    def __init__(self, source: SampleSource, max_unreadable: float) -> None:
        self.source = source
        self.max_unreadable = max_unreadable
        self.unreadable = UnreadableCounter()

    @abstractmethod
    def made(self, index: int) -> tuple[np.ndarray, int]:
        """A sample as it is stored in a batch, and its label. Raises UnreadableSample."""

    @abstractmethod
    def seen(self, samples: Tensor, device: torch.device) -> Tensor:
        """A batch as the classifier sees it."""

    def batches(
        self, batch_size: int, threads: int, part: slice = slice(None)
    ) -> Iterator[tuple[Tensor, Int64[Tensor, " B"]]]:
        """Samples and labels int64 [B], of all samples or a part, in the source's order."""
        wanted = range(len(self.source))[part]
        starts = range(0, len(wanted), batch_size)
        with ThreadPoolExecutor(max(1, threads)) as pool:
            indices = (wanted[start : start + batch_size] for start in starts)
            reading = ([pool.submit(self._read, index) for index in each] for each in indices)
            for futures in _ahead(reading, READ_AHEAD):
                read = [result for future in futures if (result := future.result()) is not None]
                if read:
                    images, labels = zip(*read, strict=True)
                    yield torch.from_numpy(np.stack(images)), torch.tensor(labels)
        if len(wanted) == len(self.source):
            self.unreadable.check(self.max_unreadable, len(self.source))

    def _read(self, index: int) -> tuple[np.ndarray, int] | None:
        try:
            return self.made(index)
        except UnreadableSample as error:
            self.unreadable.add([(error.name, error.reason)])
            return None

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        batch_size: int,
        device: torch.device,
        bf16: bool = False,
        processes: Processes | None = None,
    ) -> Scores:
        """Classify all images, shared by the processes, with the model in evaluation mode, in which it stays.

        Raises DataError where too few images can be read.
        """
        model.eval()
        right, loss, count = torch.zeros((), device=device), torch.zeros((), device=device), 0
        share = slice(None) if processes is None else slice(processes.rank, None, processes.count)
        for pixels, labels in self.batches(batch_size, os.cpu_count() or 1, share):
            samples, wanted = self.seen(pixels, device), labels.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = model(samples).float()
            right += (logits.argmax(dim=1) == wanted).sum()
            loss += F.cross_entropy(logits, wanted, reduction="sum")
            count += len(labels)
        mine = (float(right), float(loss), count, list(self.unreadable.reasons.items()))
        shares = [mine] if processes is None else processes.gather(mine)
        for *_, unreadable in shares:
            self.unreadable.add(unreadable)
        self.unreadable.check(self.max_unreadable, len(self.source))
        images_in_all = sum(share[2] for share in shares)
        if not images_in_all:
            raise DataError(f"data: expected readable images to validate on in {self.source.description}, got none")
        top1 = sum(share[0] for share in shares) / images_in_all
        return Scores(top1, sum(share[1] for share in shares) / images_in_all, images_in_all)


class ValidationImages(ValidationSamples):
    """The images to validate on: each one's centre at the model's size.

    - `share`: of the shorter side that the centre spans.
    - `channels`: of the classifier's images; one of grey images sees these in grey.
    """

    def __init__(
        self, source: ImageSource, size: tuple[int, int], share: float, max_unreadable: float, channels: int = 3
    ) -> None:
        super().__init__(source, max_unreadable)
        self.channels = channels
        self.size = size
        self.share = share

    def made(self, index: int) -> tuple[UInt8[np.ndarray, "3 H W"], int]:
        """The pixels of an image's centre and its label. Raises UnreadableImage."""
        sample = self.source[index]
        if sample.label is None:
            raise DataError(f"data: expected a label of every image, got none for {sample.name}")
        height, width = self.size
        larger = resize_center_crop(sample.image, round(height / self.share), round(width / self.share))
        top, left = (larger.shape[1] - height) // 2, (larger.shape[2] - width) // 2
        return larger[:, top : top + height, left : left + width], sample.label

    def seen(self, samples: UInt8[Tensor, "B 3 H W"], device: torch.device) -> Float[Tensor, "B C H W"]:
        """Images in [0, 1], in grey for a classifier of grey ones."""
        return fit_channels(samples.to(device).float() / 255, self.channels)


class ValidationSets(ValidationSamples):
    """The splat sets to validate on: placed and drawn once, without augmentation.

    - `dataset`: the same sets as a dataset without augmentation.
    """

    def __init__(self, dataset: SplatDataset, max_unreadable: float) -> None:
        super().__init__(dataset.source, max_unreadable)
        self.dataset = dataset

    def made(self, index: int) -> tuple[Float32[np.ndarray, "N 14"], int]:
        """The attributes of a set and its label. Raises UnreadableSplats."""
        label = self.source[index].label
        if label is None:
            raise DataError(f"data: expected a label of every splat set, got none of number {index}")
        return self.dataset.attributes(0, index), label

    def seen(self, samples: Float[Tensor, "B N 14"], device: torch.device) -> Float[Tensor, "B N 14"]:
        """The sets as they are."""
        return samples.to(device)


def _ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The items, with the next `count` already made."""
    iterator = iter(items)
    waiting = deque(itertools.islice(iterator, count))
    while waiting:
        yield waiting.popleft()
        waiting.extend(itertools.islice(iterator, 1))
