"""Groups of consecutive Gaussians along Morton's curve."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES
from splatlearn.core.geometry.point_groups import morton_codes
from splatlearn.models.tokenizers.groups import Groups, take


@dataclass(frozen=True)
class MortonGroups:
    """G runs of k Gaussians along Morton's curve through the cube from −1 to 1, spread evenly over the set.

    If k·G is the number of Gaussians, the groups part the set: none is in two of them. A group's centre is the mean of
    its members.
    """

    groups: int
    size: int

    @property
    def smallest(self) -> int:
        """The least number of Gaussians of a set."""
        return max(self.groups, self.size)

    def __call__(self, sets: Float[Tensor, "B N 14"], /) -> Groups:
        means, total = sets[..., ATTRIBUTES["means"]].detach(), sets.shape[1]
        order = morton_codes(means).argsort(dim=1, stable=True)
        last = max(1, self.groups - 1)
        firsts = torch.arange(self.groups, device=sets.device) * (total - self.size) // last
        places = firsts[:, None] + torch.arange(self.size, device=sets.device)
        members = order[:, places]
        return Groups(members, take(means, members).mean(dim=2))
