"""The frame of a capture, derived from its cameras: up direction, middle and extent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatlearn.core.geometry.similarity import Similarity

MARGIN = 1.1
"""Factor of 3D Gaussian Splatting for the distance of the farthest camera (`getNerfppNorm`)."""
PLANAR = 4.0
"""The camera's horizontal axes are taken for a plane if they spread this many times less across it than within it."""

Matrices = NDArray[np.float64]


def up_direction(world_to_camera: Matrices) -> NDArray[np.float64]:
    """Return the unit vector [3] that points up in the world of cameras [V, 4, 4], as they are held.

    Cameras that are held level have horizontal x axes: their common normal is up if they look in several directions.
    Otherwise up is the mean of the cameras' own.
    """
    right, up = world_to_camera[:, 0, :3], -world_to_camera[:, 1, :3]
    mean = up.mean(axis=0)
    sizes, axes = np.linalg.eigh(right.T @ right / len(right))
    if sizes[1] > PLANAR * sizes[0] + 1e-9 and abs(mean @ axes[:, 0]) > 0.25:
        return axes[:, 0] * np.sign(mean @ axes[:, 0])
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-6 else up[0] / np.linalg.norm(up[0])


def unit_frame(centers: NDArray[np.float64], points: NDArray[np.float64]) -> Similarity:
    """Return the map to a world whose origin is the mean of camera centres [V, 3] and whose unit is their extent.

    The extent is 1.1 times the distance of the farthest camera from the mean, as in 3D Gaussian Splatting. Cameras that
    stand in one place have none; the median distance of points [N, 3] takes its place.
    """
    middle = centers.mean(axis=0)
    extent = MARGIN * float(np.linalg.norm(centers - middle, axis=-1).max())
    # Equal centres far from the origin differ by rounding, which is no extent.
    least = 1e-9 * max(1.0, float(np.abs(middle).max()))
    if extent <= least and len(points):
        extent = float(np.median(np.linalg.norm(points - middle, axis=-1)))
    if extent <= least:
        extent = 1.0
    return Similarity(1.0 / extent, np.eye(3), -middle / extent)
