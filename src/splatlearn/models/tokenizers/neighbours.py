"""Groups of nearest neighbours around farthest points."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES
from splatlearn.core.geometry.point_groups import farthest_points, nearest_points
from splatlearn.models.tokenizers.groups import Groups, take


@dataclass(frozen=True)
class NeighbourGroups:
    """G groups of the k Gaussians nearest to farthest points (Point-BERT, Point-MAE, Gaussian-MAE).

    Centres and distances are of positions alone. Members are in order of their distance, nearest first, and groups that
    lie close together share some.
    """

    groups: int
    size: int

    @property
    def smallest(self) -> int:
        """The least number of Gaussians of a set."""
        return max(self.groups, self.size)

    def __call__(self, sets: Float[Tensor, "B N 14"], /) -> Groups:
        means = sets[..., ATTRIBUTES["means"]].detach()
        centers = take(means, farthest_points(means, self.groups).unsqueeze(-1)).squeeze(2)
        return Groups(nearest_points(means, centers, self.size), centers)
