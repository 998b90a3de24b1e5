"""Points as surfaces: each becomes a small disc that faces as its neighbours lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.polygons import GREY

NEIGHBOURS = 8
"""Number of points that say how a disc faces."""
REACH = 1.3
"""Radius of a disc, in mean distances to its four nearest neighbours: discs of an even sheet overlap."""
CORNERS = 6
FEWEST = 4
"""Smallest number of points that make a shape."""


class Points(NamedTuple):
    """Places [N, 3], and colours [N, 3] in bytes if they are known."""

    places: Float64[np.ndarray, "N 3"]
    colors: UInt8[np.ndarray, "N 3"] | None


def discs(points: Points) -> Mesh:
    """Return a mesh of a hexagon at each point, in the plane of its nearest neighbours and as wide as their distances.

    Points that are not finite and points at the place of another are left out. Raises Malformed where fewer than four
    are left.
    """
    from scipy.spatial import KDTree

    finite = np.isfinite(points.places).all(axis=1)
    places, first = np.unique(points.places[finite], axis=0, return_index=True)
    if len(places) < FEWEST:
        raise Malformed(f"points: expected at least {FEWEST} different finite ones, got {len(places)}")
    colors = np.full((len(places), 3), GREY, np.uint8)
    if points.colors is not None:
        colors = points.colors[finite][first]
    count = min(NEIGHBOURS, len(places) - 1)
    distances, near = KDTree(places).query(places, k=count + 1)
    around = places[near] - places[near].mean(axis=1, keepdims=True)
    # The eigenvector of the smallest eigenvalue is the normal; the others span the disc.
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    radii = REACH * distances[:, 1 : 1 + min(4, count)].mean(axis=1)
    turns = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    ring = np.cos(turns)[:, None] * axes[:, None, :, 2] + np.sin(turns)[:, None] * axes[:, None, :, 1]
    vertices = places[:, None] + radii[:, None, None] * ring
    fan = np.array([[0, corner, corner + 1] for corner in range(1, CORNERS - 1)])
    faces = (np.arange(len(places)) * CORNERS)[:, None, None] + fan
    return Mesh(vertices.reshape(-1, 3), faces.reshape(-1, 3).astype(np.int32), np.repeat(colors, CORNERS, axis=0))
