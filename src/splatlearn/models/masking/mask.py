"""Which patches an encoder sees and which it must reconstruct.

Letters in shapes: B images, N patches, V visible patches, M = N − V hidden patches, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.models.options import MaskPattern

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

    def hidden_pixels(self, patch: int) -> Bool[Tensor, "B H W"]:
        """Which pixels are hidden, for patches of `patch`×`patch` pixels."""
        patches = self.hidden_patches().unflatten(1, self.grid)
        return patches.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)


def random_mask(batch: int, grid: Grid, ratio: float = 0.75, generator: torch.Generator | None = None) -> Mask:
    """Hide a uniformly random share `ratio` of the patches, independently for each of `batch` images.

    The mask lies on the generator's device. Raises InputError as `mask_from_noise` does.
    """
    return mask_from_noise(_noise(batch, grid, generator), grid, ratio)


def mask_from_noise(noise: Float[Tensor, "B N"], grid: Grid, ratio: float = 0.75) -> Mask:
    """Keep the int(N·(1 − ratio)) patches of least noise visible, in the order of their noise (MAE, section 3).

    Raises InputError when the noise does not fit the grid, for a ratio outside (0, 1), and for one that leaves no
    patch visible or none hidden.
    """
    order, keep = _order(noise, grid), _kept(grid, ratio)
    return Mask(order[:, :keep], order[:, keep:], grid)


def orthogonal_masks(
    batch: int,
    grid: Grid,
    count: int = 4,
    generator: torch.Generator | None = None,
    ratio: float | None = None,
    pattern: MaskPattern = "random",
) -> list[Mask]:
    """Draw `count` masks of each image such that no patch is visible in two of them (MI-MAE, arXiv 2502.19718).

    See `orthogonal_masks_from_noise`, also for what it raises; the masks lie on the generator's device.
    """
    return orthogonal_masks_from_noise(_noise(batch, grid, generator), grid, count, ratio, pattern)


def orthogonal_masks_from_noise(
    noise: Float[Tensor, "B N"],
    grid: Grid,
    count: int = 4,
    ratio: float | None = None,
    pattern: MaskPattern = "random",
) -> list[Mask]:
    """Cut the patches of each image into `count` disjoint visible sets.

    - `ratio`: share of hidden patches in every mask: each keeps int(N·(1 − ratio)), and what is left over is hidden in
      all of them. None lets the sets tile the grid; their sizes then differ by one where N does not divide. One mask
      with a ratio is `mask_from_noise`.
    - `pattern`: `"random"` cuts patches in the order of their noise; `"block"` makes a set of neighbours, rectangles
      on a torus at a random place; `"grid"` of every so many patches along both axes, with a random offset.

    Raises InputError when the noise does not fit the grid, for an unknown pattern, a ratio as `mask_from_noise` does, a
    count for which there are too few patches, and `"grid"` where its steps do not divide the grid.
    """
    if pattern not in get_args(MaskPattern):
        raise InputError(f"pattern: expected one of {', '.join(get_args(MaskPattern))}, got {pattern!r}")
    order, ends = _order(noise, grid), _ends(grid, count, ratio)
    if pattern == "block":
        order = _block_order(order, noise, grid, ends)
    elif pattern == "grid":
        order = _lattice_order(order, noise, grid, ends)
    return [
        Mask(order[:, start:end], torch.cat([order[:, :start], order[:, end:]], dim=1), grid)
        for start, end in zip([0, *ends], ends[:count], strict=False)
    ]


def join_masks(masks: Sequence[Mask]) -> Mask:
    """One mask of a batch as long as those of all masks together, mask after mask.

    Raises InputError for no mask, and for masks of different grids or numbers of visible patches.
    """
    kinds = {(mask.grid, mask.visible.shape[1]) for mask in masks}
    if len(kinds) != 1:
        found = ", ".join(f"{visible} of {grid[0]}×{grid[1]}" for grid, visible in sorted(kinds)) or "no mask"
        raise InputError(
            f"masks: expected masks of one grid with equally many visible patches, got {found}; "
            "draw them with a ratio, which leaves the patches over hidden in all of them"
        )
    visible, hidden = (torch.cat([getattr(mask, name) for mask in masks]) for name in ("visible", "hidden"))
    return Mask(visible, hidden, masks[0].grid)


def _ends(grid: Grid, count: int, ratio: float | None) -> list[int]:
    """Where the visible sets end in the order of the patches: of `count` masks, and of others that would fit."""
    check_whole("count", count)
    total = grid[0] * grid[1]
    if ratio is None:
        if not 2 <= count <= total:
            raise InputError(f"count: expected 2 to {total} masks for as many patches, got {count}")
        return list(accumulate(total // count + (index < total % count) for index in range(count)))
    keep = _kept(grid, ratio)
    if not 1 <= count <= total // keep:
        raise InputError(
            f"count: expected 1 to {total // keep} masks that hide {ratio} of a {grid[0]}×{grid[1]} grid, got {count}: "
            f"each shows int({total}·(1 − {ratio})) = {keep} patches, and {count}·{keep} = {count * keep} of {total} "
            "cannot be disjoint; ask for fewer masks or a larger ratio"
        )
    return list(range(keep, total + 1, keep))


def _block_order(order: Tensor, noise: Tensor, grid: Grid, ends: list[int]) -> Tensor:
    """Patches slab by slab of rows, and column by column within one; noise decides within a row or column."""
    row, column = _shifted_places(noise, grid)
    down = _rows_of_cell(len(ends))
    limits = torch.tensor(ends[len(ends) // down - 1 :: len(ends) // down], device=noise.device)
    count = noise.shape[1]
    finer = order.argsort(dim=1)
    slab = torch.bucketize((row * count + finer).argsort(dim=1).argsort(dim=1), limits, right=True)
    return ((slab * grid[1] + column) * count + finer).argsort(dim=1)


def _lattice_order(order: Tensor, noise: Tensor, grid: Grid, ends: list[int]) -> Tensor:
    """Patches lattice by lattice, in the order of their noise; what a lattice has too many comes last."""
    row, column = _shifted_places(noise, grid)
    down = _rows_of_cell(len(ends))
    across = len(ends) // down
    if grid[0] % down or grid[1] % across:
        raise InputError(
            f"pattern: expected patches in rows and columns that {down} and {across} divide, as {len(ends)} lattices "
            f"need, got {grid[0]}×{grid[1]}; choose another pattern, image size or ratio"
        )
    lattice = row % down * across + column % across
    lattices = (lattice * noise.shape[1] + order.argsort(dim=1)).argsort(dim=1).unflatten(1, (len(ends), -1))
    return torch.cat([lattices[..., : ends[0]].flatten(1), lattices[..., ends[0] :].flatten(1)], dim=1)


def _shifted_places(noise: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Row and column of each patch on a torus, counted from the patch of least noise."""
    rows, columns = grid
    start = noise.argmin(dim=1, keepdim=True)
    places = torch.arange(rows * columns, device=noise.device)
    return (places // columns - start // columns) % rows, (places - start) % columns


def _rows_of_cell(parts: int) -> int:
    """In how many rows to arrange parts such that the arrangement is as square as it can be."""
    return max(rows for rows in range(1, int(parts**0.5) + 1) if parts % rows == 0)


def _noise(batch: int, grid: Grid, generator: torch.Generator | None) -> Tensor:
    check_whole("batch", batch, 0)
    _check_grid(grid)
    device = "cpu" if generator is None else generator.device
    return torch.rand(batch, grid[0] * grid[1], generator=generator, device=device)


def _check_grid(grid: Grid) -> None:
    if not isinstance(grid, Sequence) or len(grid) != 2:
        raise InputError(f"grid: expected rows and columns of patches, got {grid!r}")
    for size in grid:
        check_whole("grid", size, 1)


def _kept(grid: Grid, ratio: float) -> int:
    """How many patches stay visible."""
    if not isinstance(ratio, int | float):
        check_number("ratio", ratio)
    if not 0.0 < ratio < 1.0:
        raise InputError(f"ratio: expected a share of hidden patches between 0 and 1, got {ratio}")
    count = grid[0] * grid[1]
    keep = int(count * (1 - ratio))
    if keep in (0, count):
        raise InputError(
            f"ratio: expected at least one visible and one hidden patch; {ratio} of a {grid[0]}×{grid[1]} grid keeps "
            f"int({count}·(1 − {ratio})) = {keep} of {count} patches; change the ratio or use smaller patches"
        )
    return keep


def _order(noise: Tensor, grid: Grid) -> Tensor:
    if noise.shape[1] != grid[0] * grid[1]:
        raise InputError(
            f"noise: expected {grid[0] * grid[1]} numbers an image for a {grid[0]}×{grid[1]} grid, got {noise.shape[1]}"
        )
    return noise.argsort(dim=1, stable=True)


def _check_partition(mask: Mask) -> None:
    indices = torch.cat([mask.visible, mask.hidden], dim=1).sort(dim=1).values
    wrong = (indices != torch.arange(indices.shape[1])).any(dim=1)
    if bool(wrong.any()):
        raise InputError(
            f"visible, hidden: expected each patch 0 … {indices.shape[1] - 1} exactly once in every image, "
            f"got something else in {int(wrong.sum())} of {mask.batch} images"
        )
