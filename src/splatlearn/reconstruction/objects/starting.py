"""First splats of an object: flat ones that lie evenly on the surface that its views show."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.geometry.quaternions import unit_quaternions
from splatlearn.fitting.initial.sizes import neighbour_distances
from splatlearn.reconstruction.objects.views import Surface

CELLS = 64
"""Cells along a side of the box, in which places are counted."""
BITS = 10
"""Bits of a coordinate along the curve."""
WIDTH, FLATNESS = 0.4, 0.25
"""Standard deviation along the surface, in distances to neighbours, and across it, as a share of that."""
OPACITY = 0.9


def splats_on(surface: Surface, count: int) -> Gaussians:
    """Return `count` flat splats on a surface, at most one for each of its places, with harmonics of degree 0.

    Places that are drawn are even by area: each counts as much as its cell of the surface over the number of places
    in the cell, and marks at even distances are drawn along a Morton curve through all of them.
    """
    chosen = spread(surface.points, min(count, len(surface.points)))
    points = surface.points[chosen]
    sizes = WIDTH * neighbour_distances(points, 1.0)[:, None] * np.array([1.0, 1.0, FLATNESS])
    sh = (torch.from_numpy(surface.colors[chosen]).float()[:, None] - 0.5) / C0
    return Gaussians(
        means=torch.from_numpy(points).float(),
        scales=torch.from_numpy(sizes).float(),
        quaternions=facing(torch.from_numpy(surface.normals[chosen]).float()),
        opacities=torch.full((len(chosen),), OPACITY),
        sh=sh.contiguous(),
    )


def spread(points: Float[np.ndarray, "P 3"], count: int) -> Int[np.ndarray, " K"]:
    """Return `count` different indices of points that lie evenly over the cells that they occupy."""
    low = points.min(axis=0)
    unit = (points - low) / max(float((points - low).max()), 1e-12)
    cell = np.minimum((unit * CELLS).astype(np.int64), CELLS - 1) @ np.array([CELLS * CELLS, CELLS, 1])
    weights = 1.0 / np.bincount(cell)[cell]
    order = np.argsort(morton(unit), kind="stable")
    total = np.cumsum(weights[order])
    marks = (np.arange(count) + 0.5) * (total[-1] / count)
    places = np.minimum(np.searchsorted(total, marks), len(points) - 1)
    # Where a place spans several marks, the next ones that are free take the others.
    places = np.maximum.accumulate(places - np.arange(count)) + np.arange(count)
    over = len(points) - count
    return order[np.minimum(places, over + np.arange(count))]


def morton(unit: Float[np.ndarray, "P 3"]) -> Int[np.ndarray, " P"]:
    """Return the places of points in the unit cube along a Morton curve of 10 bits an axis."""
    whole = np.minimum((unit * (1 << BITS)).astype(np.int64), (1 << BITS) - 1)
    code = np.zeros(len(unit), dtype=np.int64)
    for bit in range(BITS):
        for axis in range(3):
            code |= (whole[:, axis] >> bit & 1) << (3 * bit + axis)
    return code


def facing(normals: Float[Tensor, "K 3"]) -> Float[Tensor, "K 4"]:
    """Return quaternions that turn the third axis to unit normals the shortest way."""
    x, y, z = normals.unbind(-1)
    # w = 1 + cos, the vector part is e_z × n; at n = −e_z, half a turn about x.
    turned = torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=-1)
    behind = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return unit_quaternions(torch.where((1 + z > 1e-4)[:, None], turned, behind))
