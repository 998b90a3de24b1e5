"""Occupied voxels as surfaces."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.polygons import GREY

BLUR = 0.5
"""Standard deviation, in voxels, of the blur before the surface is found, which takes the steps off slopes."""
LEVEL = 0.3
"""Occupancy at the surface. A plate, a bar and a lone voxel have 0.68, 0.47 and 0.32 in their middles after the blur,
so that nothing vanishes; surfaces of thick shapes lie a quarter of a voxel outside of them."""


def surface(occupied: Bool[np.ndarray, "X Y Z"]) -> Mesh:
    """Return the surface of voxels by marching cubes, in units of a voxel. Raises Malformed if none is occupied."""
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    if not occupied.any():
        raise Malformed(f"voxels: expected some of {'×'.join(map(str, occupied.shape))} to be occupied, got none")
    soft = gaussian_filter(np.pad(occupied, 2).astype(np.float32), BLUR, truncate=4.0)
    # Space has smaller values than the shape, so that faces are counter-clockwise from outside.
    vertices, faces, _, _ = marching_cubes(soft, LEVEL, gradient_direction="ascent", allow_degenerate=False)
    colors = np.full((len(vertices), 3), GREY, np.uint8)
    return Mesh(vertices.astype(np.float64) - 1.5, faces.astype(np.int32), colors)
