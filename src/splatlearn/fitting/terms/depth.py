"""Depth supervision: rendered depths against those of sensors and of triangulated points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.fitting.terms.term import Stateless, TermInputs
from splatlearn.fitting.terms.weight import Weight

COVERED = 0.1
"""Alpha below which a pixel's depth is not compared: it is the mean over the few Gaussians that cover it."""

DepthKind = Literal["inverse", "depth"]


@dataclass(frozen=True, eq=False)
class DepthTerm(Stateless):
    """Mean weighted difference between rendered and known depths, world units (or their inverses) times the extent.

    - `kind`: "inverse" compares 1 / z, so that what is near counts more, as it does in pictures; "depth" compares z.
    - `weight`: published weights are 1e-2 for inverse depths of points (gsplat), and 1 falling to 1e-2 for maps (3DGS).

    The difference is absolute, so that single wrong depths pull no harder than others. Pixels that hardly anything
    covers are left out. A step without known depths has no term. Raises InputError for another kind.

    Source: Deng et al. 2022 (DS-NeRF) for points and their weights; Kerbl et al. 2024 for inverse depths.
    """

    weight: Weight = field(default_factory=lambda: Weight(0.1))
    kind: DepthKind = "inverse"
    name: str = "depth"
    needs_depth: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.kind not in ("inverse", "depth"):
            raise InputError(f"kind: expected 'inverse' or 'depth', got {self.kind!r}")

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""] | None:
        """Return Σ w·|d̂ − d| / Σ w over the places whose depth is known."""
        depth, alpha = inputs.rendering.depth, inputs.rendering.alpha
        if inputs.depth is None or depth is None:
            return None
        known = inputs.depth.known((depth.shape[-2], depth.shape[-1]), inputs.masks)
        place = known.views, known.rows, known.columns
        counts = known.weights * (alpha.detach()[place] > COVERED) if len(known.views) else known.weights
        if not bool(counts.sum() > 0):
            return None
        found, wanted = depth[place], known.depths.to(depth)
        if self.kind == "inverse":
            # As a choice, because a pixel without depth would divide by 0 even where it does not count.
            found = inputs.extent / torch.where(counts > 0, found, 1.0)
            wanted = inputs.extent / wanted
        else:
            found, wanted = found / inputs.extent, wanted / inputs.extent
        return (counts * (found - wanted).abs()).sum() / counts.sum()
