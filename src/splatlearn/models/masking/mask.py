"""Which patches an encoder sees and which it must reconstruct.

Letters in shapes: B images, N patches, V visible patches, M = N − V hidden patches, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from splatlearn.core.errors import InputError

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
                raise InputError(f"{name}: expected shape [B, at least one patch], got {list(indices.shape)}")
        if self.visible.shape[0] != self.hidden.shape[0] or self.visible.device != self.hidden.device:
            raise InputError(
                f"hidden: expected a batch of {self.visible.shape[0]} on {self.visible.device} like visible, "
                f"got {self.hidden.shape[0]} on {self.hidden.device}"
            )
        rows, columns = self.grid
        count = self.visible.shape[1] + self.hidden.shape[1]
        if rows < 1 or columns < 1 or count != rows * columns:
            raise InputError(f"grid: expected rows·columns = {count} visible and hidden patches, got {rows}×{columns}")
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

    def hidden_pixels(self, patch_size: int) -> Bool[Tensor, "B H W"]:
        """Which pixels are hidden, for patches of `patch_size`×`patch_size` pixels."""
        patches = self.hidden_patches().unflatten(1, self.grid)
        return patches.repeat_interleave(patch_size, dim=1).repeat_interleave(patch_size, dim=2)


def join_masks(masks: Sequence[Mask]) -> Mask:
    """One mask of a batch as long as those of all masks together, mask after mask.

    Raises InputError for no mask, and for masks of different grids or numbers of visible patches.
    """
    kinds = {(mask.grid, mask.visible.shape[1]) for mask in masks}
    if len(kinds) != 1:
        found = ", ".join(f"{visible} of {grid[0]}×{grid[1]}" for grid, visible in sorted(kinds)) or "no mask"
        raise InputError(
            f"masks: expected masks of one grid with equal numbers of visible patches, got {found}; "
            "draw them with a ratio, which hides the remaining patches in all of them"
        )
    visible, hidden = (torch.cat([getattr(mask, name) for mask in masks]) for name in ("visible", "hidden"))
    return Mask(visible, hidden, masks[0].grid)


def _check_partition(mask: Mask) -> None:
    indices = torch.cat([mask.visible, mask.hidden], dim=1).sort(dim=1).values
    wrong = (indices != torch.arange(indices.shape[1])).any(dim=1)
    if bool(wrong.any()):
        raise InputError(
            f"visible, hidden: expected each patch 0 … {indices.shape[1] - 1} exactly once in every image, "
            f"got something else in {int(wrong.sum())} of {mask.batch} images"
        )
