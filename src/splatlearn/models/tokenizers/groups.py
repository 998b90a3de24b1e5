"""Groups of Gaussians, and what makes them.

Letters in shapes: B sets, N Gaussians of each, G groups, k members of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a batch of sets.

    - `members` [B, G, k]: indices of Gaussians in their set; groups may share some.
    - `centers` [B, G, 3]: where a group is.
    """

    members: Int64[Tensor, "B G k"]
    centers: Float[Tensor, "B G 3"]

    @property
    def count(self) -> int:
        """G, the number of groups of each set."""
        return self.members.shape[1]

    def members_of(self, groups: Int64[Tensor, "B V"]) -> Int64[Tensor, "B V k"]:
        """The members of some groups."""
        return torch.gather(self.members, 1, groups.unsqueeze(-1).expand(-1, -1, self.members.shape[2]))

    def covered(self, groups: Int64[Tensor, "B V"], total: int) -> Bool[Tensor, "B N"]:
        """Which of a set's `total` Gaussians are members of some groups."""
        found = torch.zeros(groups.shape[0], total, dtype=torch.bool, device=groups.device)
        return found.scatter(1, self.members_of(groups).flatten(1), True)


@runtime_checkable
class SetTokenizer(Protocol):
    """Makes G groups of k Gaussians of each set.

    It looks at attributes alone, and takes the first of equals: sets in one order give the same groups. `smallest` is
    the least number of Gaussians that a set must have.
    """

    @property
    def smallest(self) -> int: ...

    def __call__(self, sets: Float[Tensor, "B N 14"], /) -> Groups: ...


def take(values: Float[Tensor, "B N C"], members: Int64[Tensor, "B G k"]) -> Float[Tensor, "B G k C"]:
    """The rows of values that members name."""
    batch, total, _ = values.shape
    rows = members + total * torch.arange(batch, device=members.device)[:, None, None]
    return values.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, members.shape)
