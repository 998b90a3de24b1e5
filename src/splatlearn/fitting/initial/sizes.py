"""First sizes of Gaussians at points: the distances to their neighbours."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.gaussians import Gaussians

NEIGHBOURS = 3
SMALLEST = 1e-7
"""Lower bound of mean squared distances, in squares of the largest size; 3DGS has it for an extent of about 1."""


def neighbour_distances(places: Float[np.ndarray, "N 3"], largest: float) -> Float[np.ndarray, " N"]:
    """Return the root of the mean squared distance of each point to its three nearest neighbours, float64.

    `largest`: the distance of points without neighbours, and the largest that is returned.
    """
    # Importing SciPy's trees is slow, and few callers need them.
    from scipy.spatial import KDTree

    if len(places) < 2:
        return np.full(len(places), largest)
    count = min(NEIGHBOURS, len(places) - 1)
    distances, _ = KDTree(places).query(places, k=count + 1)
    # The first is the point itself, or another at the same place.
    mean = np.square(distances[:, 1:]).mean(axis=1)
    return np.sqrt(np.clip(mean, SMALLEST * largest**2, largest**2))


def round_gaussians(
    places: Float[np.ndarray, "N 3"], sh: Float[Tensor, "N 1 3"], opacity: float, scale: float, largest: float
) -> Gaussians:
    """Round Gaussians [N], float32, as large as the distances between neighbours times `scale`."""
    count = len(places)
    sizes = torch.from_numpy(scale * neighbour_distances(places, largest)).float()
    return Gaussians(
        means=torch.from_numpy(places).float(),
        scales=sizes[:, None].repeat(1, 3),
        quaternions=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        opacities=torch.full((count,), opacity),
        sh=sh.contiguous(),
    )
