"""Which patches an encoder sees and which it must reconstruct.

Letters in shapes: B images, N patches, V visible patches, M = N − V hidden patches, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns of patches."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The visible and the hidden patches of a batch of images.

    - `visible` [B, V], `hidden` [B, M]: indices of patches, row by row from the top left; together each image's
      N = V + M patches once, in any order.
    - `grid`: rows and columns of patches, rows·columns = N.

    Raises TypeError for indices that are not int64 and ValueError for shapes, devices or (on the CPU: on a GPU
    looking would stall) indices that do not make up the grid.
    """

    visible: Int64[Tensor, "B V"]
    hidden: Int64[Tensor, "B M"]
    grid: Grid

    def __post_init__(self) -> None:
        for name, indices in (("visible", self.visible), ("hidden", self.hidden)):
            if indices.dtype != torch.int64:
                raise TypeError(f"{name}: expected int64 indices, got {indices.dtype}; convert them with .long()")
            if indices.ndim != 2 or indices.shape[1] == 0:
                raise ValueError(f"{name}: expected shape [B, at least one patch], got {list(indices.shape)}")
        if self.visible.shape[0] != self.hidden.shape[0] or self.visible.device != self.hidden.device:
            raise ValueError(
                f"hidden: expected a batch of {self.visible.shape[0]} on {self.visible.device} like visible, "
                f"got {self.hidden.shape[0]} on {self.hidden.device}"
            )
        rows, columns = self.grid
        count = self.visible.shape[1] + self.hidden.shape[1]
        if rows < 1 or columns < 1 or count != rows * columns:
            raise ValueError(f"grid: expected rows·columns = {count} visible and hidden patches, got {rows}×{columns}")
        if self.visible.device.type == "cpu" and not torch.compiler.is_compiling():
            _check_partition(self)

    @property
    def batch(self) -> int:
        """B, the number of images."""
        return self.visible.shape[0]

    def to(self, device: torch.device | str) -> Mask:
        """Move to a device."""
        return Mask(self.visible.to(device), self.hidden.to(device), self.grid)

    def hidden_patches(self) -> Bool[Tensor, "B N"]:
        """Which patches are hidden, row by row."""
        rows, columns = self.grid
        hidden = torch.zeros(self.batch, rows * columns, dtype=torch.bool, device=self.hidden.device)
        return hidden.scatter(1, self.hidden, True)

    def hidden_pixels(self, patch: int) -> Bool[Tensor, "B H W"]:
        """Which pixels are hidden, for patches of `patch`×`patch` pixels."""
        patches = self.hidden_patches().unflatten(1, self.grid)
        return patches.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)


def random_mask(batch: int, grid: Grid, ratio: float = 0.75, generator: torch.Generator | None = None) -> Mask:
    """Hide a uniformly random share `ratio` of the patches, independently for each of `batch` images.

    The mask lies on the generator's device. Raises ValueError as `mask_from_noise` does.
    """
    return mask_from_noise(_noise(batch, grid, generator), grid, ratio)


def mask_from_noise(noise: Float[Tensor, "B N"], grid: Grid, ratio: float = 0.75) -> Mask:
    """Keep the int(N·(1 − ratio)) patches of least noise visible, in the order of their noise (MAE, section 3).

    Raises ValueError when the noise does not fit the grid, for a ratio outside (0, 1), and for one that leaves no
    patch visible or none hidden.
    """
    order = _order(noise, grid)
    if not 0.0 < ratio < 1.0:
        raise ValueError(f"ratio: expected a share of hidden patches between 0 and 1, got {ratio}")
    count = noise.shape[1]
    keep = int(count * (1 - ratio))
    if keep in (0, count):
        rows, columns = grid
        raise ValueError(
            f"ratio: expected at least one visible and one hidden patch; {ratio} of a {rows}×{columns} grid keeps "
            f"int({count}·(1 − {ratio})) = {keep} of {count} patches; change the ratio or use smaller patches"
        )
    return Mask(order[:, :keep], order[:, keep:], grid)


def orthogonal_masks(batch: int, grid: Grid, count: int = 4, generator: torch.Generator | None = None) -> list[Mask]:
    """Draw `count` masks whose visible patches tile each image: no patch is visible twice (MI-MAE, arXiv 2502.19718).

    Raises ValueError as `orthogonal_masks_from_noise` does.
    """
    return orthogonal_masks_from_noise(_noise(batch, grid, generator), grid, count)


def orthogonal_masks_from_noise(noise: Float[Tensor, "B N"], grid: Grid, count: int = 4) -> list[Mask]:
    """Cut the order of the noise into `count` visible sets, whose sizes differ by one where N does not divide.

    Raises ValueError when the noise does not fit the grid, and for a count outside 2 … N.
    """
    order = _order(noise, grid)
    if not 2 <= count <= noise.shape[1]:
        raise ValueError(f"count: expected 2 to {noise.shape[1]} masks for as many patches, got {count}")
    parts = order.tensor_split(count, dim=1)
    return [
        Mask(visible, torch.cat([*parts[:index], *parts[index + 1 :]], dim=1), grid)
        for index, visible in enumerate(parts)
    ]


def _noise(batch: int, grid: Grid, generator: torch.Generator | None) -> Tensor:
    device = "cpu" if generator is None else generator.device
    return torch.rand(batch, grid[0] * grid[1], generator=generator, device=device)


def _order(noise: Tensor, grid: Grid) -> Tensor:
    if noise.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f"noise: expected {grid[0] * grid[1]} numbers an image for a {grid[0]}×{grid[1]} grid, got {noise.shape[1]}"
        )
    return noise.argsort(dim=1, stable=True)


def _check_partition(mask: Mask) -> None:
    indices = torch.cat([mask.visible, mask.hidden], dim=1).sort(dim=1).values
    wrong = (indices != torch.arange(indices.shape[1])).any(dim=1)
    if bool(wrong.any()):
        raise ValueError(
            f"visible, hidden: expected each patch 0 … {indices.shape[1] - 1} exactly once in every image, "
            f"got something else in {int(wrong.sum())} of {mask.batch} images"
        )
