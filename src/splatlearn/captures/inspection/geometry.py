"""Cameras and points of a capture: how well they agree, and what no camera sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from splatlearn.captures.capture import Capture
from splatlearn.captures.observations import observation_errors

NEAR = 0.01
"""Distance from a camera, as a share of the extent, below which points are left out of a fit."""
SHARED = 15
"""Points that two photographs must share to count as connected."""
INWARD = 0.6
"""Smallest share of cameras that look towards the middle in a capture that goes round something."""
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Measurements of the cameras and points of a capture.

    - `extent`: of the cameras, in the capture's own units: 1.1 times the distance of the farthest one from their mean.
    - `errors`: reprojection errors in pixels: of each observation, or of each point where the file has only those.
    - `view_errors` [V]: mean error of each view's observations, NaN without any.
    - `observations` [V]: numbers of points that each view sees; None without tracks.
    - `near`: number of points within a hundredth of the extent of a camera.
    - `behind`: share of observations whose point lies behind its camera.
    - `groups`: sizes of the groups of views that share no points with each other, the largest first.
    - `gap`: widest angle in degrees, seen from the middle, in which no camera stands; None unless cameras look inward.
    - `gap_middle`: direction of the gap's middle, a unit vector in the world.
    """

    extent: float
    errors: Vector
    view_errors: Vector
    observations: NDArray[np.int64] | None
    near: int
    behind: float
    groups: tuple[int, ...]
    gap: float | None
    gap_middle: Vector | None


def measure_geometry(capture: Capture) -> Geometry:
    """Measure cameras and points of a capture."""
    points, tracks, views = capture.points, capture.points.tracks, len(capture)
    errors = np.zeros(0) if points.errors is None else points.errors
    view_errors, observations, behind, groups = np.full(views, np.nan), None, 0.0, (views,)
    if tracks is not None and len(tracks.views):
        errors = observation_errors(capture)
        seen = np.isfinite(errors)
        observations = np.bincount(tracks.views, minlength=views)
        sums = np.bincount(tracks.views[seen], weights=errors[seen], minlength=views)
        counts = np.bincount(tracks.views[seen], minlength=views)
        view_errors = np.divide(sums, counts, out=view_errors, where=counts > 0)
        behind = float(1 - seen.mean())
        groups = _groups(tracks.points, tracks.views, len(points), views)
    extent = 1 / capture.to_unit.scale
    near = 0
    if len(points):
        near = int((KDTree(capture.centers).query(points.xyz)[0] < NEAR * extent).sum())
    gap, middle = _gap(capture)
    return Geometry(extent, errors[np.isfinite(errors)], view_errors, observations, near, behind, groups, gap, middle)


def _groups(points: NDArray[np.integer], views: NDArray[np.integer], count: int, number: int) -> tuple[int, ...]:
    seen = coo_array((np.ones(len(points), dtype=np.int64), (views, points)), shape=(number, count)).tocsr()
    shared = (seen @ seen.T).tocoo()
    strong = shared.data >= SHARED
    graph = coo_array((shared.data[strong], (shared.row[strong], shared.col[strong])), shape=(number, number))
    labels = connected_components(graph, directed=False)[1]
    return tuple(sorted(np.bincount(labels).tolist(), reverse=True))


def looked_at(capture: Capture) -> Vector:
    """Return the point [3] nearest to the axes of all cameras, where they look at something together."""
    axes, centers = capture.world_to_camera[:, 2, :3], capture.centers
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    return np.linalg.lstsq(across.sum(axis=0), (across @ centers[:, :, None]).sum(axis=0)[:, 0], rcond=None)[0]


def _gap(capture: Capture) -> tuple[float | None, Vector | None]:
    """The widest gap between cameras round what they look at, in degrees, and the direction of its middle."""
    if len(capture) < 3 or any(view.lens.is_panorama for view in capture.views):
        return None, None
    middle, up, centers = looked_at(capture), capture.up, capture.centers
    inward = ((middle - centers) * capture.world_to_camera[:, 2, :3]).sum(axis=1) > 0
    if inward.mean() < INWARD:
        return None, None
    ahead = np.linalg.svd(up[None])[2][1]
    aside = np.cross(up, ahead)
    away = centers - middle
    angles = np.sort(np.arctan2(away @ aside, away @ ahead))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    angle = angles[widest] + gaps[widest] / 2
    return float(np.degrees(gaps[widest])), ahead * np.cos(angle) + aside * np.sin(angle)
