"""Points of many sets: farthest points, nearest neighbours, and the order of a space-filling curve.

Letters in shapes: B sets, N points, G chosen points, k neighbours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError

MORTON_BITS = 10
"""Bits of a Morton code along each axis."""


def farthest_points(points: Float[Tensor, "B N 3"], count: int) -> Int64[Tensor, "B G"]:
    """Indices of points that are far from one another: each is the farthest from those before it.

    The first is the farthest from the origin. Of equally far points the first in the set is taken. Raises InputError
    for a count outside 1 … N. Source: Eldar et al. 1997; PointNet++ (Qi et al. 2017).
    """
    if not 1 <= count <= points.shape[1]:
        raise InputError(f"count: expected a number from 1 to {points.shape[1]}, the points of a set, got {count}")
    points = points.detach()
    # Planes of coordinates: the loop below then runs over contiguous memory.
    planes = points.permute(2, 0, 1).contiguous()
    rows = torch.arange(points.shape[0], device=points.device)
    # Falling, so that of equally far points the largest of these numbers is the first's.
    order = torch.arange(points.shape[1], 0, -1, device=points.device, dtype=planes.dtype)
    apart = torch.empty_like(planes)
    chosen = torch.empty(points.shape[0], count, dtype=torch.int64, device=points.device)
    chosen[:, 0] = planes.square().sum(dim=0).argmax(dim=1)
    nearest = torch.full_like(planes[0], torch.inf)
    for place in range(1, count):
        torch.sub(planes, planes[:, rows, chosen[:, place - 1]].unsqueeze(-1), out=apart)
        x, y, z = apart.mul_(apart)
        torch.minimum(nearest, x.add_(y).add_(z), out=nearest)
        # An argmax takes longer than two maxima; 1 + sign is 1 where a distance is the largest, and 0 elsewhere.
        is_farthest = torch.sub(nearest, nearest.amax(dim=1, keepdim=True), out=x).sign_().add_(1.0)
        first = points.shape[1] - is_farthest.mul_(order).amax(dim=1)
        # Points that are no numbers are not the farthest, and have no index.
        chosen[:, place] = first.long().clamp_(0, points.shape[1] - 1)
    return chosen


def nearest_points(
    points: Float[Tensor, "B N 3"], places: Float[Tensor, "B G 3"], count: int
) -> Int64[Tensor, "B G k"]:
    """Indices of the `count` points nearest to each place, nearest first.

    Raises InputError for a count outside 1 … N.
    """
    if not 1 <= count <= points.shape[1]:
        raise InputError(f"count: expected a number from 1 to {points.shape[1]}, the points of a set, got {count}")
    with torch.no_grad():
        # Squared distances but for the places' own lengths, which order nothing. Rounding of the product decides only
        # between points whose distances agree to six digits of the set's extent.
        lengths = points.square().sum(dim=-1).unsqueeze(1)
        distances = torch.baddbmm(lengths, places, points.transpose(1, 2), alpha=-2.0)
        return distances.topk(count, dim=2, largest=False).indices


def morton_codes(points: Float[Tensor, "B N 3"]) -> Int64[Tensor, "B N"]:
    """Codes of 30 bits whose order follows Morton's curve through the cube from −1 to 1; points outside are clamped."""
    cells = ((points.detach() + 1.0) * 2 ** (MORTON_BITS - 1)).clamp_(0, 2**MORTON_BITS - 1).long()
    spread = cells
    for shift, kept in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        spread = (spread | (spread << shift)) & kept
    x, y, z = spread.unbind(-1)
    return (x << 2) | (y << 1) | z
