"""Splat sets as training and probes see them: placed, N Gaussians drawn, moved, and as attributes.

Letters in shapes: B sets, N Gaussians drawn of each, G numbers for its mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from splatlearn.core.attributes import NUMBERS, attributes_of, placed
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_whole
from splatlearn.core.randomness import Purpose, Stream
from splatlearn.data.labelled import LabelledImages
from splatlearn.data.loading.dataset import Large, TrainingDataset
from splatlearn.data.splat_sets.augment import STILL, SplatAugmentation
from splatlearn.data.splat_sets.samples import SplatSource


@dataclass(frozen=True)
class Drawing:
    """How a set of N Gaussians is made of one of any number.

    - `count`: N.
    - `replacement`: draw each of them independently, so that one may come twice, as the published loaders do. Without
      it, a set of at most N Gaussians is taken whole and filled up with repeated ones.
    - `keep`: fraction of the Gaussians that are there, the ones on one side of a random plane (a partial view).
    """

    count: int = 1024
    replacement: bool = False
    keep: float = 1.0

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        if not 0 < self.keep <= 1:
            raise InputError(f"keep: expected a fraction above 0 and at most 1, got {self.keep}")

    def __call__(self, gaussians: Gaussians, rng: np.random.Generator) -> Gaussians:
        """Draw N of placed Gaussians [K], K ≥ 1; what is random is drawn from `rng` alone."""
        if self.keep < 1.0:
            gaussians = gaussians.select(_one_side(gaussians.means, self.keep, rng))
        return gaussians.select(torch.from_numpy(self.indices(gaussians.count, rng)))

    def indices(self, total: int, rng: np.random.Generator) -> Int64[np.ndarray, " N"]:
        """Which of `total` Gaussians are drawn, in rising order without replacement."""
        if self.replacement:
            return rng.integers(total, size=self.count)
        if total >= self.count:
            return np.sort(rng.permutation(total)[: self.count])
        repeated = [rng.permutation(total) for _ in range(-(-self.count // total) - 1)]
        return np.sort(np.concatenate([np.arange(total), *repeated])[: self.count])


def _one_side(means: Tensor, keep: float, rng: np.random.Generator) -> Tensor:
    """Indices of the Gaussians farthest along a random direction, at least one."""
    along = means.double() @ torch.from_numpy(rng.normal(size=3))
    kept = max(1, round(keep * len(means)))
    return along.topk(kept).indices.sort().values


@dataclass(frozen=True)
class SplatExample:
    """One set as training sees it: attributes [N, 14], noise for its mask, class (−1 for none), and its index."""

    sets: Float32[np.ndarray, "N 14"]
    noise: Float32[np.ndarray, " G"]
    label: int
    index: int
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SplatBatch:
    """Examples of splat sets, put together.

    - `sets` float32 [B, N, 14]: attributes in the order of `ATTRIBUTES`, activated and placed.
    - `noise` float32 [B, G]: uniform numbers that decide the masks of G groups.
    - `labels` int64 [B]: class numbers, −1 for none; `indices` int64 [B]: which samples were asked for.
    - `unreadable`: (name, reason) of samples that another stands in for; `enlarged` is empty, as only images are.
    """

    sets: Float32[Tensor, "B N 14"]
    noise: Float32[Tensor, "B G"]
    labels: Int64[Tensor, " B"]
    indices: Int64[Tensor, " B"]
    unreadable: tuple[tuple[str, str], ...] = ()
    enlarged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def parts(self, count: int) -> list[SplatBatch]:
        """Split into `count` parts, equal if that divides the batch; facts about samples are dropped."""
        cut = (each.chunk(count) for each in (self.sets, self.noise, self.labels, self.indices))
        return [SplatBatch(*each) for each in zip(*cut, strict=True)]

    def pin_memory(self) -> SplatBatch:
        """The same batch in page-locked memory, from which copies to a GPU can run beside its work."""
        names = ("sets", "noise", "labels", "indices")
        return replace(self, **{name: getattr(self, name).pin_memory() for name in names})


class SplatDataset(TrainingDataset[SplatExample, SplatBatch]):
    """Splat sets of a source: a pure function of (epoch, index) and the arguments.

    - `drawing`: how N Gaussians are drawn of a set; a set is placed before, by all of its Gaussians.
    - `augmentation`: how it is moved afterwards.
    - `groups`: G, the number of uniform numbers that come with a set for its mask.
    - `seed`: in [0, 2**64).

    Pre-training, fine-tuning and probes read sets in this way only, so they all see one normalisation. Raises
    InputError for `groups` below one or a seed out of range.
    """

    unit = "set"

    def __init__(
        self,
        source: SplatSource | LabelledImages,
        drawing: Drawing | None = None,
        augmentation: SplatAugmentation = STILL,
        groups: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole("groups", groups, 1)
        super().__init__(source, seed)
        self.drawing, self.augmentation, self.groups = drawing or Drawing(), augmentation, groups
        self.large = Large("sets", (self.drawing.count, NUMBERS), np.dtype(np.float32))
        self._draws, self._masks = Stream(seed, Purpose.CROP), Stream(seed, Purpose.MASK)

    def example(self, epoch: int, wanted: int, out: np.ndarray | None = None) -> SplatExample:
        """The example of an epoch and a sample; its attributes go to `out`, if that is given.

        An unreadable set is replaced by the next readable one, with the randomness of the index that was asked for.
        Raises DataError when a hundred samples in a row are unreadable.
        """
        sample, unreadable = self.first_readable(wanted, lambda index: self.source[index])
        attributes = self._made(sample.gaussians, epoch, wanted)
        if out is not None:
            out[:] = attributes
            attributes = out
        noise = self._masks.at(epoch, wanted).random(self.groups, dtype=np.float32)
        label = -1 if sample.label is None else sample.label
        return SplatExample(attributes, noise, label, wanted, unreadable)

    def attributes(self, epoch: int, index: int) -> Float32[np.ndarray, "N 14"]:
        """The attributes of one set as `example` has them. Raises UnreadableSplats."""
        return self._made(self.source[index].gaussians, epoch, index)

    def _made(self, gaussians: Gaussians, epoch: int, index: int) -> Float32[np.ndarray, "N 14"]:
        rng = self._draws.at(epoch, index)
        drawn = self.drawing(placed(gaussians.to(torch.float32)), rng)
        return attributes_of(self.augmentation(drawn, rng)).numpy()

    @staticmethod
    def collate(examples: Sequence[SplatExample], large: np.ndarray | None = None) -> SplatBatch:
        """Put examples together to a batch; `large` is where their attributes lie already, if they lie together."""
        # NumPy stacks, because PyTorch's own operations may start OpenMP threads, which forked workers must not.
        return SplatBatch(
            sets=torch.from_numpy(np.stack([each.sets for each in examples]) if large is None else large),
            noise=torch.from_numpy(np.stack([each.noise for each in examples])),
            labels=torch.from_numpy(np.array([each.label for each in examples], dtype=np.int64)),
            indices=torch.from_numpy(np.array([each.index for each in examples], dtype=np.int64)),
            unreadable=tuple(bad for each in examples for bad in each.unreadable),
        )
