"""The alignment of a rendering's colours with its photograph, which scores of captures with changing light need.

A held-out photograph has an exposure of its own that no fit knows. The literature compares after an affine map of
colours that is fitted to each view by least squares (Mildenhall et al. 2022, RawNeRF, section 4; `color_correct` of
MultiNeRF, here without its quadratic terms).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 5
"""A fit moves pixels out of the clipped ranges, and the next fit sees them."""
CLIPPED = 0.5 / 255
"""Colours that are this near to 0 or 1 may be clipped, and are left out of a fit."""


@torch.no_grad()
def color_aligned(
    picture: Float[Tensor, "3 H W"], target: Float[Tensor, "3 H W"], weights: Float[Tensor, "H W"] | None = None
) -> Float[Tensor, "3 H W"]:
    """Return a picture after the affine map of colours, 3 × 4, that brings it nearest to its target.

    - `picture`, `target`: in [0, 1]; `weights`: of pixels, all alike by default.

    Sums are float64. A channel without pixels that are not clipped stays as it is.
    """
    before = colors = picture.double().flatten(1).T
    goals = target.double().flatten(1).T
    given = torch.ones_like(goals[:, 0]) if weights is None else weights.double().flatten()
    starts = _counts(colors)
    for _ in range(ROUNDS):
        terms = torch.cat([colors, torch.ones_like(colors[:, :1])], dim=1)
        columns = []
        for channel in range(3):
            use = starts[:, channel] & _counts(colors[:, channel]) & _counts(goals[:, channel])
            share = torch.where(use, given, 0.0)
            if not bool(share.any()):
                columns.append(colors[:, channel])
                continue
            weighted = terms * share[:, None]
            factors = torch.linalg.pinv(weighted.T @ terms, hermitian=True) @ (weighted.T @ goals[:, channel])
            columns.append(terms @ factors)
        colors = torch.stack(columns, dim=1).clamp(0, 1)
    return (colors if bool(colors.isfinite().all()) else before).T.reshape(picture.shape).to(picture.dtype)


def _counts(values: Tensor) -> Tensor:
    return (values >= CLIPPED) & (values <= 1 - CLIPPED)
