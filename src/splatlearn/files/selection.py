"""Which Gaussians of a scene to keep, by place, size and opacity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number


@dataclass(frozen=True)
class Selection:
    """Conditions that a Gaussian must meet to be kept.

    - `crop`: a box x0, y0, z0, x1, y1, z1 in the coordinates of the means, which must lie in it; None: everywhere.
    - `min_opacity`: the smallest opacity, in [0, 1].
    - `max_scale`: the largest standard deviation along any axis, world units; None: any.

    Raises InputError for a box whose end lies below its start and numbers out of range.
    """

    crop: tuple[float, ...] | None = None
    min_opacity: float = 0.0
    max_scale: float | None = None

    def __post_init__(self) -> None:
        check_number("min_opacity", self.min_opacity, least=0, most=1)
        if self.max_scale is not None:
            check_number("max_scale", self.max_scale, above=0)
        if self.crop is not None and (len(self.crop) != 6 or any(self.crop[k] > self.crop[k + 3] for k in range(3))):
            got = " ".join(map(str, self.crop))
            raise InputError(f"crop: expected x0 y0 z0 x1 y1 z1 with x0 ≤ x1, y0 ≤ y1 and z0 ≤ z1, got {got}")

    def kept(self, gaussians: Gaussians, means: Float[Tensor, "K 3"] | None = None) -> Bool[Tensor, " K"]:
        """Whether each of the Gaussians [K] is kept; `means` are their centres in the coordinates of the box."""
        kept = gaussians.opacities >= self.min_opacity
        if self.max_scale is not None:
            kept = kept & (gaussians.scales.amax(dim=1) <= self.max_scale)
        if self.crop is not None:
            places = gaussians.means if means is None else means
            box = torch.tensor(self.crop, dtype=places.dtype, device=places.device)
            kept = kept & ((places >= box[:3]) & (places <= box[3:])).all(dim=1)
        return kept
