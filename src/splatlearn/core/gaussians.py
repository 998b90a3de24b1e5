"""The container of 3D Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.checks import check_floating, check_same_device, check_shape
from splatlearn.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A batch of sets of K 3D Gaussians, with any leading batch shape *B.

    - `means` [*B, K, 3]: centres in world units.
    - `scales` [*B, K, 3]: standard deviations along the axes of the Gaussian, in world units, > 0.
    - `quaternions` [*B, K, 4]: rotations, w first; normalised where they are used.
    - `colors` [*B, K, C]: colours in [0, 1], or any other C features.
    - `opacities` [*B, K]: in (0, 1).

    Raises TypeError for tensors that are not floating-point and ValueError for shapes or devices that disagree.
    """

    means: Float[Tensor, "*B K 3"]
    scales: Float[Tensor, "*B K 3"]
    quaternions: Float[Tensor, "*B K 4"]
    colors: Float[Tensor, "*B K C"]
    opacities: Float[Tensor, "*B K"]

    def __post_init__(self) -> None:
        for field in fields(self):
            check_floating(field.name, getattr(self, field.name))
        if self.means.ndim < 2:
            raise InputError(f"means: expected shape [..., K, 3], got {list(self.means.shape)}")
        leading = tuple(self.means.shape[:-1])
        check_shape("means", self.means, (3,), leading)
        check_shape("scales", self.scales, (3,), leading)
        check_shape("quaternions", self.quaternions, (4,), leading)
        check_shape("colors", self.colors, ("C",), leading)
        check_shape("opacities", self.opacities, (), leading)
        check_same_device(
            "means",
            self.means,
            scales=self.scales,
            quaternions=self.quaternions,
            colors=self.colors,
            opacities=self.opacities,
        )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading batch shape *B."""
        return tuple(self.means.shape[:-2])

    @property
    def count(self) -> int:
        """K, the number of Gaussians in each set."""
        return self.means.shape[-2]

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Apply a function to every tensor; all results must agree in their leading shape."""
        return Gaussians(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def to(self, target: torch.device | str | torch.dtype) -> Gaussians:
        """Move to a device or convert to a dtype."""
        return self.map(lambda tensor: tensor.to(target))

    def detach(self) -> Gaussians:
        """Cut from the autograd graph."""
        return self.map(lambda tensor: tensor.detach())

    def reshape_batch(self, *shape: int) -> Gaussians:
        """Give the leading batch dimensions another shape of the same size."""
        kept = len(self.batch_shape)
        return self.map(lambda tensor: tensor.reshape(*shape, *tensor.shape[kept:]))

    def __getitem__(self, index: int | slice | Tensor) -> Gaussians:
        """Index the leading batch dimension."""
        if not self.batch_shape:
            raise IndexError("Gaussians without a batch dimension cannot be indexed; use select() for single Gaussians")
        return self.map(lambda tensor: tensor[index])

    def select(self, index: slice | Tensor) -> Gaussians:
        """Keep the Gaussians that a slice, an index list or a boolean list [K] names, in all sets alike."""
        kept = len(self.batch_shape)
        return self.map(lambda tensor: tensor[(slice(None),) * kept + (index,)])
