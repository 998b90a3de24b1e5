"""The specification's second step: splats in the order of their depth, and lists of those that can colour a tile."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.torch.primitives.registry import formula
from splatlearn.rendering.backends.torch.project import Projected

TILE = 16
"""Pixels of a tile's side."""


def sort_near_to_far(projected: Projected) -> Projected:
    """Sort splats and their ids by depth; equal depths keep their order."""
    splats = projected.splats
    order = splats.depths.argsort(dim=1, stable=True)

    def gather(values: Tensor) -> Tensor:
        if values.ndim == 2:
            return values.gather(1, order)
        return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return Projected(splats.map(gather), gather(projected.ids))


class TileLists(NamedTuple):
    """Which of K splats can colour which tiles: those whose box meets the tile's row and its column of tiles.

    - `rows` [B, K, R], `columns` [B, K, Q]: for the R × Q tiles of an image.
    """

    rows: Bool[Tensor, "B K R"]
    columns: Bool[Tensor, "B K Q"]

    def at(self, pixels: Float[Tensor, "P 2"]) -> Bool[Tensor, "B K P"]:
        """Return which splats are in the lists of the tiles at pixel centres (x, y)."""
        column, row = (pixels / TILE).long().unbind(-1)
        return self.rows[..., row] & self.columns[..., column]


@torch.no_grad()
def tile_lists(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
    size: tuple[int, int],
    primitive: str = GAUSSIAN,
) -> TileLists:
    """Return the lists of the tiles of an image of `size` (height, width), near to far as the splats are.

    - `packed`: conics, and further parameters of the primitive, which is named by its formula.

    No splat that colours a pixel is missing. A NaN leaves a splat in every list.
    """
    half = formula(primitive).bounds(packed, opacities)

    def met(axis: int, length: int) -> Tensor:
        first = torch.arange(0, length, TILE, device=means2d.device, dtype=means2d.dtype)
        last = (first + TILE).clamp_max(length)
        center, reach = means2d[..., axis, None], half[..., axis, None]
        # From the centre of a tile's first pixel to that of its last.
        return ~((center + reach < first + 0.5) | (center - reach > last - 0.5))

    return TileLists(rows=met(1, size[0]), columns=met(0, size[1]))
