"""A start from Gaussians that any tool has made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_whole
from splatlearn.fitting.draws import Draws


@dataclass(frozen=True, eq=False)
class SplatStart:
    """Gaussians to start from, and the numbers of those that were left out.

    - `gaussians` [K]: float32; `not_finite`: those with NaN or infinity; `over_cap`: those left out at random.
    """

    gaussians: Gaussians
    not_finite: int
    over_cap: int


def splat_gaussians(gaussians: Gaussians, cap: int | None = None, seed: int = 0) -> SplatStart:
    """Prepare Gaussians of any tool for a fit, which goes on from the picture that they show.

    - `gaussians` [K]: in the world of the fit, with `sh` of any degree or 3 `colors`.
    - `cap`: those beyond this number are left out at random; None: no limit.

    Colours of at least 0 become the `sh` of degree 0 that show them, so that they may depend on the view from then on.
    Negative ones have no `sh`, which are seen as 0 below 0: sets with such colours keep `colors`. Raises InputError for
    a batch of sets and where no Gaussian is finite.
    """
    if gaussians.batch_shape:
        raise InputError(f"gaussians: expected one set [K], got sets {list(gaussians.batch_shape)}; index the batch")
    if cap is not None:
        check_whole("cap", cap, 1)
    start = gaussians.detach().to(torch.float32)
    finite = torch.stack([_finite_rows(each) for each in start.tensors().values()]).all(dim=0)
    left = finite.nonzero().squeeze(1)
    if not len(left):
        raise InputError(f"gaussians: expected at least one that is finite, got {start.count} that are not")
    kept = Draws(seed).subset(len(left), cap or len(left)).to(left.device)
    start = start.select(left[kept])
    if start.colors is not None and start.colors.shape[-1] == 3 and bool((start.colors >= 0).all()):
        start = start.with_degree(0)
    return SplatStart(
        replace(start, scales=start.scales.clamp_min(0.0), opacities=start.opacities.clamp(0.0, 1.0)),
        not_finite=gaussians.count - len(left),
        over_cap=len(left) - len(kept),
    )


def _finite_rows(tensor: Tensor) -> Tensor:
    return tensor.isfinite().reshape(len(tensor), -1).all(dim=1)
