"""Convex hulls of a few points in the plane, many at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

MERGED = 1e-3
"""Points nearer to one another than this share of their set's extent are one corner: their edge has no direction."""


class Hull(NamedTuple):
    """The hulls of sets of P points.

    - `order` [*B, P]: indices of the corners, one after the other with the inside at their left where y points up (at
      their right on an image), filled up with the first one; `after`: the corner that follows each.
    - `is_corner` [*B, P]: which places of `order` are in use: at least three, or none for points on a line.
    - `thickness` [*B]: twice the area over the perimeter.
    """

    order: Int64[Tensor, "*B P"]
    after: Int64[Tensor, "*B P"]
    is_corner: Bool[Tensor, "*B P"]
    thickness: Float[Tensor, "*B"]

    def is_thick(self, least: float) -> Bool[Tensor, "*B"]:
        """Whether hulls have corners, and at least this thickness, in the unit of the points."""
        return self.is_corner.any(-1) & (self.thickness > least)


@torch.no_grad()
def hull_of(points: Float[Tensor, "*B P 2"]) -> Hull:
    """Return the convex hulls of sets of points, by gift wrapping in float64.

    Points on an edge are no corners, and of points that are nearly one (`MERGED`) the first alone can be one.
    """
    exact = points.double()
    exact = torch.where(exact.isfinite(), exact, 0.0)
    count = exact.shape[-2]
    extent = (exact.amax(-2) - exact.amin(-2)).amax(-1)
    is_free = _distinct(exact, MERGED * extent)
    x, y = exact.unbind(-1)
    # A corner of every hull: the lowest of the leftmost points.
    leftmost = torch.where(is_free, x, torch.inf).amin(-1, keepdim=True)
    first = torch.where(is_free & (x == leftmost), y, torch.inf).argmin(-1)
    current, is_open = first, torch.ones_like(first, dtype=torch.bool)
    order, used = [], []
    for _ in range(count):
        order.append(torch.where(is_open, current, first))
        used.append(is_open)
        current = _next(exact, is_free, current)
        is_open = is_open & (current != first)
    # A walk that is not back after P corners went astray by rounding.
    found, is_corner = torch.stack(order, dim=-1), torch.stack(used, dim=-1) & ~is_open.unsqueeze(-1)
    is_corner = is_corner & (is_corner.sum(-1, keepdim=True) >= 3)
    after = torch.cat([found[..., 1:], found[..., :1]], dim=-1)
    corners = exact.gather(-2, found.unsqueeze(-1).expand(exact.shape))
    sides = exact.gather(-2, after.unsqueeze(-1).expand(exact.shape)) - corners
    twice_area = (corners[..., 0] * sides[..., 1] - corners[..., 1] * sides[..., 0]).sum(-1).abs()
    perimeter = sides.norm(dim=-1).sum(-1)
    thickness = twice_area / perimeter.clamp_min(torch.finfo(torch.float64).tiny)
    return Hull(found, after, is_corner, thickness.to(points.dtype))


def _distinct(points: Float[Tensor, "*B P 2"], nearest: Float[Tensor, "*B"]) -> Bool[Tensor, "*B P"]:
    """Which points are no nearer than `nearest` to any that is kept before them."""
    kept = [torch.ones_like(nearest, dtype=torch.bool)]
    for index in range(1, points.shape[-2]):
        far = (points[..., :index, :] - points[..., index : index + 1, :]).norm(dim=-1) > nearest.unsqueeze(-1)
        kept.append((far | ~torch.stack(kept, dim=-1)).all(-1))
    return torch.stack(kept, dim=-1)


def _next(
    points: Float[Tensor, "*B P 2"], is_free: Bool[Tensor, "*B P"], current: Int64[Tensor, "*B"]
) -> Int64[Tensor, "*B"]:
    """The corner after one: the point to whose right, seen from there, no other lies; the farthest of several."""
    here = points.gather(-2, current[..., None, None].expand(*current.shape, 1, 2))
    off = points - here
    best, reach = current, torch.zeros_like(points[..., 0, :])
    for index in range(points.shape[-2]):
        each = off[..., index, :]
        turn = reach[..., 0] * each[..., 1] - reach[..., 1] * each[..., 0]
        is_farther = each.square().sum(-1) > reach.square().sum(-1)
        # From a start of no length, the first other point is taken whatever its direction.
        is_better = is_free[..., index] & (index != current) & ((turn < 0) | ((turn == 0) & is_farther))
        best = torch.where(is_better, index, best)
        reach = torch.where(is_better.unsqueeze(-1), each, reach)
    return best
