"""Exposure and white balance as one affine map of colours for each photograph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.geometry.harmonics import C0
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows

MATRIX = "matrix"
RATE = Rate(1e-2, 1e-3)
"""Learning rate of maps, for Adam. A row moves only in the steps of its photograph, some tens of times in a fit."""

LEAST = 1e-3
"""Determinant of a mean map below which it is left where it is: its inverse would tell nothing."""


def changed(color: Float[Tensor, "V 3 *P"], change: Float[Tensor, "V 3 4 *#P"]) -> Float[Tensor, "V 3 *P"]:
    """Return colours after an affine map: color + M·color + b for a change [M, b]; one of zeros leaves all bits."""
    shift = change[:, :, 3]
    for channel in range(3):
        shift = shift + change[:, :, channel] * color[:, channel, None]
    return color + shift


@torch.no_grad()
def centre(rows: ViewRows, parameters: Mapping[str, Tensor]) -> None:
    """Move the mean map of all photographs to the colours of the Gaussians: afterwards it is the identity.

    With the mean map c ↦ G·c + g, colours become G·c + g and maps A·c + b become A·G⁻¹·(c − g) + b, in place, so that
    no picture of an opaque scene changes.
    """
    eye = torch.eye(3, dtype=torch.float64, device=rows[MATRIX].device)
    maps = rows[MATRIX].double() + torch.nn.functional.pad(eye, (0, 1))
    mean = maps.mean(dim=0)
    if float(torch.linalg.det(mean[:, :3])) < LEAST:
        return
    matrices = maps[:, :, :3] @ torch.linalg.inv(mean[:, :3])
    rows[MATRIX].copy_(torch.cat([matrices - eye, maps[:, :, 3:] - matrices @ mean[:, 3:]], dim=-1))
    if (colors := parameters.get("colors")) is not None:
        colors.copy_(colors @ mean[:, :3].T.to(colors) + mean[:, 3].to(colors))
        return
    sh = parameters["sh"]
    sh.copy_(sh @ mean[:, :3].T.to(sh))
    # A colour is ½ plus C0 times the coefficient of degree 0, and more for higher degrees.
    sh[:, 0] += ((mean[:, :3].sum(dim=1) - 1) / 2 + mean[:, 3]).to(sh) / C0


class AffineColors(ViewModel):
    """An affine map of colours, 3 × 4, for each photograph: exposure, white balance, and a black level.

    - `count`: N, the number of photographs.

    Maps start as the identity, and are stored as their difference from it.

    Gauge: a change that all photographs share is one of the scene's colours, and no picture tells the two apart. It
    belongs to the scene: after each step the mean map of all photographs is moved to the Gaussians and then is the
    identity, so that the scene has the colours of the mean photograph.
    """

    name = "affine"

    def __init__(self, count: int, rate: Rate = RATE) -> None:
        super().__init__(ViewRows({MATRIX: torch.zeros(count, 3, 4)}, {MATRIX: rate}))

    def picture(self, seen: SeenViews, color: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 3 H W"]:
        return changed(color, self.rows.of(MATRIX, seen.ids)[..., None, None])

    def settle(self, parameters: Mapping[str, Tensor]) -> None:
        centre(self.rows, parameters)
