"""Distances between a mesh and points of the true surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from splatlearn.surfaces import Mesh

POINTS = 200_000
"""Number of points that are drawn on a mesh."""


@dataclass(frozen=True)
class MeshScore:
    """Distances in units of the points' world.

    - `accuracy`: the median distance from the mesh to the nearest point of the truth; `completeness`: that from the
      truth to the mesh.
    - `precise`, `recalled`: the shares of both that are below a threshold.
    """

    accuracy: float
    completeness: float
    precise: float
    recalled: float

    @property
    def chamfer(self) -> float:
        """The mean of both medians."""
        return (self.accuracy + self.completeness) / 2

    @property
    def f_score(self) -> float:
        """The harmonic mean of both shares."""
        both = self.precise + self.recalled
        return 2 * self.precise * self.recalled / both if both else 0.0


def score_mesh(
    mesh: Mesh, truth: Float64[np.ndarray, "N 3"], within: float, seed: int = 0, farthest: float | None = None
) -> MeshScore:
    """Compare a mesh with points on the true surface.

    - `within`: the threshold of the shares; `seed`: of the points that are drawn on the mesh.
    - `farthest`: distance of parts of the mesh from all points beyond which they do not count, for truths that cover a
      part of the scene.
    """
    # Importing SciPy's trees is slow.
    from scipy.spatial import KDTree

    found = mesh.points(POINTS, np.random.default_rng(seed))
    if not len(found):
        return MeshScore(float("inf"), float("inf"), 0.0, 0.0)
    away, _ = KDTree(truth).query(found)
    if farthest is not None:
        away = away[away < farthest]
    missed, _ = KDTree(found).query(truth)
    return MeshScore(
        float(np.median(away)), float(np.median(missed)), float((away < within).mean()), float((missed < within).mean())
    )
