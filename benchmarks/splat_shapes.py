"""ModelNet10's voxel grids as splats on their surfaces; made from geometry, not fitted to pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion, gaussian_filter

from splatlearn import Gaussians
from splatlearn.core.geometry.quaternions import matrices_to_quaternions
from splatlearn.data import SplatList

SIDE = 32
FEWEST = 64
"""Voxels of a surface below which a grid is left out: some grids are empty, or nearly so."""
SMOOTHING, REACH = 0.8, 0.7
"""Deviation of the filter whose gradient gives normals, and how far splats move along them, in voxels."""
ALONG, ACROSS = 0.6, 0.15
"""Deviations of a splat in its surface and across it, in voxels."""
MOST = 2048
"""Splats of a shape at most: every further one of a larger surface is left out."""


def surface_splats(grid: np.ndarray) -> Gaussians | None:
    """Flat grey splats on the surface of a voxel grid [32, 32, 32]; None for a grid of hardly any surface.

    One stands at each occupied voxel with an empty neighbour, moved along the gradient of the smoothed grid to where
    that is a half, and turned to face along it.
    """
    inside = grid.astype(bool)
    shell = np.argwhere(inside & np.logical_not(binary_erosion(inside, border_value=0)))
    if len(shell) < FEWEST:
        return None
    if len(shell) > MOST:
        shell = shell[np.linspace(0, len(shell) - 1, MOST).round().astype(int)]
    smooth = np.asarray(gaussian_filter(inside.astype(np.float64), SMOOTHING))
    slopes = np.stack([np.gradient(smooth, axis=axis)[tuple(shell.T)] for axis in range(3)], axis=1)
    steep = np.linalg.norm(slopes, axis=1, keepdims=True)
    normals = np.where(steep > 1e-6, -slopes / np.maximum(steep, 1e-6), [[0.0, 0.0, 1.0]])
    missing = (smooth[tuple(shell.T)][:, None] - 0.5) / np.maximum(steep, 1e-3)
    places = shell + normals * np.clip(missing, -REACH, REACH)
    scales = np.tile([ALONG, ALONG, ACROSS], (len(shell), 1))
    means = torch.from_numpy(places).float()
    return Gaussians(
        means,
        torch.from_numpy(scales).float(),
        matrices_to_quaternions(torch.from_numpy(_frames(normals))).float(),
        torch.full((len(shell),), 0.9),
        colors=torch.full((len(shell), 3), 0.5),
    )


def _frames(normals: np.ndarray) -> np.ndarray:
    """Rotations whose third axes are these, [K, 3, 3]."""
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = np.cross(least, normals)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first), normals], axis=2)


def modelnet10(
    path: Path, per_class: int | None = None, test_per_class: int | None = None, only: tuple[str, ...] = ()
) -> tuple[SplatList, SplatList]:
    """The training and test shapes of `voxels32.npz`, of all classes or of those named.

    `per_class` and `test_per_class` keep the first of each class.
    """
    with np.load(path) as stored:
        names = [str(name) for name in stored["names"]]
        parts = [(stored[part], stored[f"y_{part}"]) for part in ("train", "test")]
    lists = []
    for (packed, labels), most in zip(parts, (per_class, test_per_class), strict=True):
        sets, known, taken = [], [], dict.fromkeys(range(len(names)), 0)
        for grid, label in zip(packed, labels.tolist(), strict=True):
            if (most is not None and taken[label] >= most) or (only and names[label] not in only):
                continue
            found = surface_splats(np.unpackbits(grid).reshape(SIDE, SIDE, SIDE))
            if found is not None:
                sets.append(found)
                known.append(label)
                taken[label] += 1
        lists.append(SplatList(sets, labels=known, class_names=names))
    return lists[0], lists[1]
