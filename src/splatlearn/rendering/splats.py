"""Projected Gaussians: 2D splats."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.checks import check_floating, check_same_device, check_shape


@dataclass(frozen=True, eq=False)
class Splats:
    """2D splats of B images, sorted near to far.

    - `means2d` [B, K, 2]: pixels, x then y.
    - `conics` [B, K, 3]: (a, b, c) of the inverse covariance [[a, b], [b, c]], px⁻².
    - `depths` [B, K]: z in camera space, world units, ascending.
    - `colors` [B, K, C]: colours or other features.
    - `opacities` [B, K].

    Raises TypeError or ValueError naming the tensor whose type, shape or device is wrong. The order is not checked:
    `project` sorts, and `composite` takes the order as given.
    """

    means2d: Float[Tensor, "B K 2"]
    conics: Float[Tensor, "B K 3"]
    depths: Float[Tensor, "B K"]
    colors: Float[Tensor, "B K C"]
    opacities: Float[Tensor, "B K"]

    def __post_init__(self) -> None:
        for field in fields(self):
            check_floating(field.name, getattr(self, field.name))
        check_shape("means2d", self.means2d, ("B", "K", 2))
        leading = tuple(self.means2d.shape[:2])
        check_shape("conics", self.conics, (3,), leading)
        check_shape("depths", self.depths, (), leading)
        check_shape("colors", self.colors, ("C",), leading)
        check_shape("opacities", self.opacities, (), leading)
        check_same_device(
            "means2d",
            self.means2d,
            conics=self.conics,
            depths=self.depths,
            colors=self.colors,
            opacities=self.opacities,
        )

    @property
    def count(self) -> int:
        """K, the number of splats of each image."""
        return self.means2d.shape[1]

    def select(self, index: slice | Tensor) -> Splats:
        """Keep the splats at these ranks of the depth order in every image; `slice(64)` keeps the nearest 64."""
        return Splats(**{field.name: getattr(self, field.name)[:, index] for field in fields(self)})


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which the renderer computes: float64 for float64, float32 for everything else."""
    return dtype if dtype == torch.float64 else torch.float32
