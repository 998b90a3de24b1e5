"""Errors of rendered depths at places with known depths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.rendering import Rendering

COVERED = 0.5
"""Alpha from which a pixel has a depth."""


@dataclass(frozen=True)
class DepthScore:
    """The error of rendered depths at the places of a view, or of several views, whose depth is known.

    - `median`: of absolute errors, in units of the capture's world.
    - `relative`: the median of errors divided by the known depth.
    - `covered`: the fraction of these places that the scene covers by more than a half; the others have no depth, and
      do not count.
    - `count`: the number of places.
    """

    median: float
    relative: float
    covered: float
    count: int


@torch.no_grad()
def score_depth(
    rendering: Rendering, known: DepthTargets, unit: float = 1.0, mask: Float[Tensor, "H W"] | None = None
) -> DepthScore | None:
    """Compare the depth map of one view, which was rendered without a batch axis, with known depths.

    - `known`: of this view alone.
    - `unit`: units of the capture's world for a unit of the rendering.
    - `mask`: weights of pixels; those of weight 0 do not count.

    Returns None where nothing is known, and where the scene covers none of it.
    """
    assert rendering.depth is not None
    size = (rendering.depth.shape[-2], rendering.depth.shape[-1])
    places = known.known(size, None if mask is None else mask[None])
    if not len(places.depths):
        return None
    here = places.rows, places.columns
    counts = rendering.alpha[here] > COVERED
    errors, depths = (rendering.depth[here] - places.depths).abs()[counts], places.depths[counts]
    if not len(errors):
        return None
    return DepthScore(
        float(errors.median()) * unit, float((errors / depths).median()), float(counts.float().mean()), len(counts)
    )


def mean_depth_score(scores: list[DepthScore]) -> DepthScore | None:
    """The mean over views, and the sum of their counts; None for none."""
    if not scores:
        return None

    def mean(name: str) -> float:
        return sum(getattr(each, name) for each in scores) / len(scores)

    return DepthScore(mean("median"), mean("relative"), mean("covered"), sum(each.count for each in scores))
