"""Projected Gaussians: 2D splats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.checks import check_floating, check_same_device, check_shape
from splatlearn.core.gaussians import GAUSSIAN


@dataclass(frozen=True, eq=False)
class Splats:
    """2D splats of B images, sorted near to far.

    - `means2d` [B, K, 2]: pixels, x then y.
    - `conics` [B, K, 3]: (a, b, c) of the inverse covariance [[a, b], [b, c]], px⁻².
    - `depths` [B, K]: z in camera space, world units, ascending.
    - `colors` [B, K, C]: colours or other features.
    - `opacities` [B, K].
    - `primitive`: the name of the formula of α, and `shapes` [B, K, P]: its parameters beside means2d, conics and
      opacities; None if it has none, as a Gaussian.

    Raises TypeError or ValueError naming the tensor whose type, shape or device is wrong. The order is not checked:
    `project` sorts, and `composite` takes the order as given.
    """

    means2d: Float[Tensor, "B K 2"]
    conics: Float[Tensor, "B K 3"]
    depths: Float[Tensor, "B K"]
    colors: Float[Tensor, "B K C"]
    opacities: Float[Tensor, "B K"]
    shapes: Float[Tensor, "B K P"] | None = None
    primitive: str = GAUSSIAN

    def __post_init__(self) -> None:
        tensors = self.tensors()
        for name, each in tensors.items():
            check_floating(name, each)
        check_shape("means2d", self.means2d, ("B", "K", 2))
        leading = tuple(self.means2d.shape[:2])
        check_shape("conics", self.conics, (3,), leading)
        check_shape("depths", self.depths, (), leading)
        check_shape("colors", self.colors, ("C",), leading)
        check_shape("opacities", self.opacities, (), leading)
        if self.shapes is not None:
            check_shape("shapes", self.shapes, ("P",), leading)
        check_same_device("means2d", tensors.pop("means2d"), **tensors)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without `shapes` if they are None."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name != "primitive")
        return {name: value for name, value in values if value is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> Splats:
        """Apply a function to every tensor; all results must agree in their leading shape."""
        return replace(self, **{name: function(tensor) for name, tensor in self.tensors().items()})

    @property
    def packed(self) -> Tensor:
        """The parameters of α beside means2d and opacities [B, K, P]: conics, and after them `shapes`."""
        return self.conics if self.shapes is None else torch.cat([self.conics, self.shapes], dim=-1)

    @property
    def count(self) -> int:
        """K, the number of splats of each image."""
        return self.means2d.shape[1]

    def select(self, index: slice | Tensor) -> Splats:
        """Keep the splats at these ranks of the depth order in every image; `slice(64)` keeps the nearest 64."""
        return self.map(lambda tensor: tensor[:, index])


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which the renderer computes: float64 for float64, float32 for everything else."""
    return dtype if dtype == torch.float64 else torch.float32
