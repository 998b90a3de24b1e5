"""Cross-ray growth: Gaussians where rays of several views meet whose pictures are worst there (MVGS).

Each view of a step has a window in which its picture is farthest from the photograph. Where the rays through the
windows of two views cross, in the intersection of the two pyramids of sight, both agree that something is missing, and
Gaussians are grown whether their gradients are large or not.

Source: Du et al. 2024 (MVGS, arXiv 2410.02103), section 3.3. It takes the box around the middles of the shortest ways
between the rays of the windows' corners in place of the intersection, which reaches far beyond it where two views look
in about the same direction.

Letters in shapes: V views, K Gaussians, h, w pixels of a grid.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.fitting.strategies.strategy import Errors

WINDOW = (20, 40)
"""Rows and columns of a window, in pixels that are compared: the published ones."""
LARGEST = 4
"""A window is at most the picture's sides divided by this."""
MEETING = 2
"""Views whose windows must show a place."""


def worst_windows(errors: Float[Tensor, "V h w"]) -> Int64[Tensor, "V 4"]:
    """Return the window of the largest mean error of each picture: its first column and row, and those after its last.

    It is the first of several equal ones, row by row.
    """
    height, width = errors.shape[1:]
    rows, columns = max(1, min(WINDOW[0], height // LARGEST)), max(1, min(WINDOW[1], width // LARGEST))
    means = F.avg_pool2d(errors.unsqueeze(1), (rows, columns), stride=1).squeeze(1)
    best = means.flatten(1).argmax(dim=1)
    top, left = best // means.shape[2], best % means.shape[2]
    return torch.stack([left, top, left + columns, top + rows], dim=1)


@torch.no_grad()
def crossed(means: Float[Tensor, "K 3"], errors: Iterable[Errors]) -> Bool[Tensor, " K"]:
    """Return which places lie where rays of the worst windows of two views, or more, cross.

    A view without any error has no window.
    """
    counts = torch.zeros(len(means), dtype=torch.int64, device=means.device)
    for each in errors:
        left, top, right, bottom = worst_windows(each.values).to(means).unsqueeze(-1).unbind(1)
        pixels, depths = each.cameras.project(means)
        grid = each.grid
        # The edges of pixels of the grid, in pixels of the whole picture.
        u, v = ((pixels[..., axis] - start) / grid.stride for axis, start in enumerate((grid.left, grid.top)))
        inside = (u >= left) & (u < right) & (v >= top) & (v < bottom) & (depths >= each.cameras.near)
        is_wrong = each.values.flatten(1).amax(dim=1, keepdim=True) > 0
        counts += (inside & is_wrong).sum(dim=0)
    return counts >= MEETING
