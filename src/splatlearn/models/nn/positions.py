"""Fixed sin-cos positions of patches on a grid."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.models.masking import Grid


def sincos_positions(grid: Grid, embed_dim: int) -> Float[Tensor, "T D"]:
    """The table of 2D sin-cos positions, a zero row for the class token first, then the patches row by row.

    `grid` is rows and columns, `embed_dim` the length D of a row: a quarter each of sin and cos of the column, then of
    the row, with wavelengths from 2π to 10000·2π patches (MAE, official code). Raises InputError unless 4 divides D.
    """
    if embed_dim % 4:
        raise InputError(f"embed_dim: expected a multiple of 4 for 2D sin-cos positions, got {embed_dim}")
    quarter = embed_dim // 4
    frequencies = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in grid), indexing="ij")
    # The column comes first: released MAE weights were trained with that order.
    angles = [place.reshape(-1, 1) * frequencies for place in (column, row)]
    table = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return torch.cat([table.new_zeros(1, embed_dim), table]).float()


class Positioned(nn.Module):
    """A module with tokens on a grid: it holds the positions of its native grid and computes others on demand."""

    pos_embed: Tensor

    def __init__(self, native_grid: Grid, embed_dim: int) -> None:
        super().__init__()
        self.native_grid = native_grid
        self.register_buffer("pos_embed", sincos_positions(native_grid, embed_dim).unsqueeze(0), persistent=False)
        self._other_grids: dict[tuple[Grid, torch.device, torch.dtype], Tensor] = {}

    def positions(self, grid: Grid) -> Float[Tensor, "1 T D"]:
        """The positions of a grid, on this module's device and in its dtype; cached."""
        if grid == self.native_grid:
            return self.pos_embed
        key = (grid, self.pos_embed.device, self.pos_embed.dtype)
        if key not in self._other_grids:
            table = sincos_positions(grid, self.pos_embed.shape[-1])
            self._other_grids[key] = table.unsqueeze(0).to(self.pos_embed)
        return self._other_grids[key]


def gather_tokens(tokens: Float[Tensor, "#B N D"], index: Int64[Tensor, "B V"]) -> Float[Tensor, "B V D"]:
    """Select the tokens with these indices in each image; a batch of one is shared by all images."""
    # Whole rows are copied; `gather` would look up every number.
    rows = index if tokens.shape[0] == 1 else rows_of(index, tokens.shape[1])
    return tokens.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, index.shape)


def scatter_tokens(tokens: Float[Tensor, "B V D"], index: Int64[Tensor, "B V"], count: int) -> Float[Tensor, "B N D"]:
    """Place tokens at these indices among `count` in each image; the other places are 0."""
    places = tokens.new_zeros(tokens.shape[0] * count, tokens.shape[2])
    return places.index_copy(0, rows_of(index, count).flatten(), tokens.flatten(0, 1)).unflatten(0, (-1, count))


def rows_of(index: Int64[Tensor, "B V"], count: int) -> Int64[Tensor, "B V"]:
    """Turn indices among the `count` tokens of each image into indices among the tokens of all images concatenated."""
    return index + count * torch.arange(index.shape[0], device=index.device).unsqueeze(1)
