"""A bilateral grid of colours for each photograph: affine maps that change across the picture and with brightness.

Wang et al. 2024 (Bilateral Guided Radiance Field Processing, section 3.1); Chen et al. 2007 for the grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from splatlearn.core.numbers import check_number
from splatlearn.fitting.exposure.affine import MATRIX, RATE, centre, changed
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows

GRID = "grid"
CELLS = (8, 16, 16)
"""Cells along brightness, down and across."""
GRID_RATE = Rate(1e-3, 1e-4)
"""Learning rate of cells, for Adam: a tenth of that of the photograph's one affine map."""
SMOOTH = 10.0
"""Weight of the total variation, as published."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness that chooses a cell."""


def sliced(grids: Float[Tensor, "V 12 L R Q"], color: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 3 4 H W"]:
    """Return the affine maps of pixels: trilinear in the place in the picture and in the brightness of its colour.

    - `grids`: L cells of brightness from 0 to 1, R rows and Q columns, whose outermost cells lie on the picture's
      sides. Brightness outside of [0, 1] takes the nearest cell. Gradients flow to cells and to the brightness.
    """
    count, _, height, width = color.shape
    across = (torch.arange(width, device=color.device, dtype=color.dtype) + 0.5) * (2 / width) - 1
    down = (torch.arange(height, device=color.device, dtype=color.dtype) + 0.5) * (2 / height) - 1
    luma = torch.einsum("vchw,c->vhw", color, color.new_tensor(LUMA)).clamp(0, 1) * 2 - 1
    shape = (count, height, width)
    places = torch.stack([across.expand(shape), down[:, None].expand(shape), luma], dim=-1)
    found = grid_sample(grids, places[:, None], "bilinear", padding_mode="border", align_corners=True)
    return found[:, :, 0].unflatten(1, (3, 4))


def total_variation(grids: Float[Tensor, "V 12 L R Q"]) -> Float[Tensor, ""]:
    """Return the mean square of the differences between neighbouring cells, summed over the three axes."""
    parts = [grids.diff(dim=axis).square().mean() for axis in (2, 3, 4) if grids.shape[axis] > 1]
    return torch.stack(parts).sum() if parts else grids.new_zeros(())


def common_curves(grids: Float[Tensor, "N 12 L R Q"]) -> Float[Tensor, "12 L 1 1"]:
    """Return the means of grids over photographs and places of the picture, for each brightness.

    Between cells a map is linear, so that a cell on a side of the picture counts half.
    """
    found = grids.mean(dim=0)
    for axis in (3, 2):
        count = grids.shape[axis + 1]
        weights = found.new_ones(count)
        weights[[0, -1]] = 0.5 if count > 1 else 1.0
        found = (found.movedim(axis, -1) @ (weights / weights.sum())).unsqueeze(axis)
    return found


class BilateralGrid(ViewModel):
    """Affine maps of colours on a grid of 8 × 16 × 16 cells (brightness, down, across) for each photograph.

    For light that changes within a photograph, vignettes, and the tone curves of phones. A grid has 24,576 numbers, so
    that neighbouring cells are held together by their total variation. A change that all cells of a photograph share
    is one affine map beside the grid, with a higher rate (`AffineColors`).

    - `count`: N, the number of photographs; `rate`, `grid_rate`: of the maps and of the cells.
    - `smooth`: weight of the total variation of the grids that a step sees.

    Both start as the identity, and are stored as their difference from it.

    Gauge: maps as in `AffineColors`; in the mean over photographs and places the cells of each brightness are the
    identity too, since a tone curve that all photographs share is one of the scene's colours. What they share at one
    place of the picture, such as a vignette, is theirs.
    """

    name = "grid"

    def __init__(self, count: int, rate: Rate = RATE, grid_rate: Rate = GRID_RATE, smooth: float = SMOOTH) -> None:
        check_number("smooth", smooth, least=0)
        start = {MATRIX: torch.zeros(count, 3, 4), GRID: torch.zeros(count, 12, *CELLS)}
        super().__init__(ViewRows(start, {MATRIX: rate, GRID: grid_rate}))
        self.smooth = smooth

    def picture(self, seen: SeenViews, color: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 3 H W"]:
        whole = self.rows.of(MATRIX, seen.ids)[..., None, None]
        return changed(color, whole + sliced(self.rows.of(GRID, seen.ids), color))

    def penalty(self, seen: SeenViews) -> Float[Tensor, ""]:
        return self.smooth * total_variation(self.rows.of(GRID, seen.ids))

    def settle(self, parameters: Mapping[str, Tensor]) -> None:
        centre(self.rows, parameters)
        with torch.no_grad():
            self.rows[GRID].sub_(common_curves(self.rows[GRID]))
