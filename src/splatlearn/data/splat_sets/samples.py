"""The protocol of a collection of splat sets, and one in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from splatlearn.core.gaussians import Gaussians
from splatlearn.images.errors import DataError, UnreadableSample


class UnreadableSplats(UnreadableSample):
    """A splat file that cannot be read, or that holds no Gaussians."""

    kind = "splat file"


@dataclass(frozen=True, eq=False)
class SplatSample:
    """One set of Gaussians [K], the name that messages give it, and its class number if it has one."""

    gaussians: Gaussians
    name: str
    label: int | None = None


@runtime_checkable
class SplatSource(Protocol):
    """A collection of splat sets with random access; reading a broken one raises UnreadableSplats.

    `description` says in a phrase what the sets are; `class_names` names the labels, where they have names; `labels`
    are the class numbers of all sets, known without reading them.
    """

    @property
    def description(self) -> str: ...

    @property
    def class_names(self) -> list[str] | None: ...

    @property
    def labels(self) -> Sequence[int | None]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> SplatSample: ...


class SplatList:
    """Splat sets in memory, each Gaussians [K] of any K ≥ 1.

    `names` and `labels` go with the sets one by one; `class_names` names the labels 0, 1, ... Raises DataError for
    lists of different lengths, no sets, and batches of sets.
    """

    def __init__(
        self,
        sets: Sequence[Gaussians],
        names: Sequence[str] | None = None,
        labels: Sequence[int] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        if not sets:
            raise DataError("sets: expected at least one set of Gaussians, got an empty list")
        for name, each in (("names", names), ("labels", labels)):
            if each is not None and len(each) != len(sets):
                raise DataError(f"{name}: expected one for each of {len(sets)} sets, got {len(each)}")
        for each in sets:
            if each.batch_shape or not each.count:
                raise DataError(f"sets: expected Gaussians [K] with K ≥ 1, got means {list(each.means.shape)}")
        self._sets = list(sets)
        self._names = [f"set {index}" for index in range(len(sets))] if names is None else list(names)
        self.labels: list[int | None] = [None] * len(sets) if labels is None else [*labels]
        self.class_names = class_names
        self.description = f"{len(sets)} splat sets in memory"

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, index: int, /) -> SplatSample:
        return SplatSample(self._sets[index], self._names[index], self.labels[index])

    def outline(self) -> Iterator[bytes]:
        """What tells this collection from others: names, and the numbers of each set added up."""
        for name, each in zip(self._names, self._sets, strict=True):
            sums = torch.stack([value.double().sum() for value in each.tensors().values()])
            yield f"{name} {each.count} {[round(value, 4) for value in sums.tolist()]}".encode(errors="surrogateescape")
