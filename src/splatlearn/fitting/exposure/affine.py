"""Exposure and white balance as one affine map of colours for each photograph."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows

MATRIX = "matrix"
RATE = Rate(1e-2, 1e-3)
"""Learning rate of maps, for Adam. A row moves only in the steps of its photograph, some tens of times in a fit."""


def changed(color: Float[Tensor, "V 3 *P"], change: Float[Tensor, "V 3 4 *#P"]) -> Float[Tensor, "V 3 *P"]:
    """Return colours after an affine map: color + M·color + b for a change [M, b]; one of zeros leaves all bits."""
    shift = change[:, :, 3]
    for channel in range(3):
        shift = shift + change[:, :, channel] * color[:, channel, None]
    return color + shift


@torch.no_grad()
def centre(rows: ViewRows) -> None:
    """Subtract from the maps of all photographs what they have in common: afterwards their mean is the identity."""
    rows[MATRIX].sub_(rows[MATRIX].mean(dim=0))


class AffineColors(ViewModel):
    """An affine map of colours, 3 × 4, for each photograph: exposure, white balance, and a black level.

    - `count`: N, the number of photographs.

    Maps start as the identity, and are stored as their difference from it.

    Gauge: a change that all photographs share is one of the scene's colours, and no picture tells the two apart. It
    belongs to the scene: after each step the mean map of all photographs is the identity, so that the scene has the
    colours of the mean photograph.
    """

    name = "affine"

    def __init__(self, count: int, rate: Rate = RATE) -> None:
        super().__init__(ViewRows({MATRIX: torch.zeros(count, 3, 4)}, {MATRIX: rate}))

    def picture(self, seen: SeenViews, color: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 3 H W"]:
        return changed(color, self.rows.of(MATRIX, seen.ids)[..., None, None])

    def move(self, seen: SeenViews, steps: int) -> None:
        super().move(seen, steps)
        centre(self.rows)
