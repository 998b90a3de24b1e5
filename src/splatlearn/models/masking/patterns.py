"""Orders of patches in which consecutive ones form blocks or lattices."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.masking.mask import Grid


def block_order(order: Tensor, noise: Tensor, grid: Grid, ends: list[int]) -> Tensor:
    """Patches slab by slab of rows, and column by column within one; noise decides within a row or column."""
    row, column = _shifted_places(noise, grid)
    down = _rows_of_cell(len(ends))
    limits = torch.tensor(ends[len(ends) // down - 1 :: len(ends) // down], device=noise.device)
    count = noise.shape[1]
    finer = order.argsort(dim=1)
    slab = torch.bucketize((row * count + finer).argsort(dim=1).argsort(dim=1), limits, right=True)
    return ((slab * grid[1] + column) * count + finer).argsort(dim=1)


def lattice_order(order: Tensor, noise: Tensor, grid: Grid, ends: list[int]) -> Tensor:
    """Patches lattice by lattice, in the order of their noise; what a lattice has too many comes last."""
    row, column = _shifted_places(noise, grid)
    down = _rows_of_cell(len(ends))
    across = len(ends) // down
    if grid[0] % down or grid[1] % across:
        raise InputError(
            f"pattern: expected rows divisible by {down} and columns divisible by {across}, as {len(ends)} lattices "
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
