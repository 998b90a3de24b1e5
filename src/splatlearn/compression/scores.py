"""What each Gaussian of a scene is worth to its pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number
from splatlearn.rendering import render

LARGE = 0.9
"""Quantile of volumes from which on a larger one counts no more."""


@torch.no_grad()
def significance(
    gaussians: Gaussians, cameras: Sequence[Camera], volume_power: float = 0.0, filter: str = "point"
) -> Float[Tensor, " K"]:
    """Return the sum of the blending weights T·α of each Gaussian [K] over all pixels of single cameras.

    - `volume_power`: β of the factor min(V/V₉₀, 1)^β, in which V is the product of the scales and V₉₀ its 90 % quantile
      (LightGaussian, Fan et al. 2024, with β = 0.1; weights with their falloff, as published). 0: no factor.
    - `filter`: see `render`.

    The sums do not depend on the number of threads. Raises InputError without cameras, BackendError where no compiled
    renderer collects weights.
    """
    check_number("volume_power", volume_power, least=0)
    if not cameras:
        raise InputError("cameras: expected at least one, got none; surrounding_cameras makes some")
    total = torch.zeros_like(gaussians.opacities, dtype=torch.float64)
    for camera in cameras:
        info = render(gaussians, camera, "black", depth=False, check=False, info=("weights",), filter=filter).info
        if info is None or info.weight_sums is None:
            raise BackendError("cameras: expected a compiled renderer that collects weights, found none for the device")
        total.index_add_(0, info.ids.long(), info.weight_sums.double())
    if volume_power:
        volumes = gaussians.scales.double().prod(dim=1)
        total = total * (volumes / volumes.quantile(LARGE)).clamp(max=1) ** volume_power
    return total.to(gaussians.opacities)


def kept_share(gaussians: Gaussians, scores: Float[Tensor, " K"], share: float) -> Gaussians:
    """Return the Gaussians [K'] of the highest scores, a share of them in (0, 1], at least one, in their order."""
    check_number("share", share, above=0, most=1)
    count = max(1, round(share * gaussians.count))
    chosen = scores.argsort(descending=True, stable=True)[:count]
    return gaussians.select(chosen.sort().values)
