"""A picture in pieces, each with the splats that can colour it, so that memory is bounded for any size and any K."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.core.operation import is_transformed
from splatlearn.rendering.backends.torch.bin import TILE, TileLists, tile_lists

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Largest B·K·pixels held at a time, by device; about fifteen tensors of it live at the peak of the backward. Small on
a CPU, whose caches hold such chunks."""
FEWEST_PIXELS = 64
"""Pixels of a chunk, however many splats there are."""


class Piece(NamedTuple):
    """Some pixels of a picture.

    - `places`: in the flattened image; `pixels` [P, 2]: their centres (x, y).
    - `members`: the ranks of the splats that some tile list of them has, None for all.
    - `seen` [B, M, P]: which of these are in the list of a pixel's tile.
    """

    places: slice | Int64[Tensor, " P"]
    pixels: Float[Tensor, "P 2"]
    members: Int64[Tensor, " M"] | None
    seen: Bool[Tensor, "B M P"]

    def of(self, tensor: Float[Tensor, "B K ..."]) -> Float[Tensor, "B M ..."]:
        """Return the rows of the splats that are in the piece."""
        return tensor if self.members is None else tensor.index_select(1, self.members)

    def added(self, total: Float[Tensor, "B K ..."], part: Float[Tensor, "B M ..."]) -> Float[Tensor, "B K ..."]:
        """Return a sum over pieces with what this one adds to the rows of its splats."""
        return total + part if self.members is None else total.index_add(1, self.members, part)


def pieces(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
    size: tuple[int, int],
    grid: PixelGrid = WHOLE_PICTURE,
    primitive: str = GAUSSIAN,
) -> Iterator[Piece]:
    """Yield the pixels of a picture of `size` (height, width), which are those of a grid.

    What fits is one piece; else each tile is one, or several, and splats that meet no tile of it are left out. They
    have no α there, so that nothing changes. Function transforms, which have no values to look at, leave out none.
    """
    lists = tile_lists(means2d, packed, opacities, _reached(size, grid), primitive)
    centers = pixel_centers(means2d, size, grid)
    batch, count = means2d.shape[:2]
    most = _elements(means2d)
    if batch * count * len(centers) <= most or is_transformed(means2d, packed, opacities):
        for places in _runs(len(centers), batch * count, most):
            yield Piece(places, centers[places], None, lists.at(centers[places]))
        return
    numbers = torch.arange(len(centers), device=means2d.device).reshape(size)
    for top in range(0, size[0], TILE):
        for left in range(0, size[1], TILE):
            places = numbers[top : top + TILE, left : left + TILE].flatten()
            here = centers[places]
            members = _members(lists, here)
            near = TileLists(lists.rows[:, members], lists.columns[:, members])
            for part in _runs(len(places), batch * len(members), most):
                yield Piece(places[part], here[part], members, near.at(here[part]))


def chunks_of_pixels(
    means2d: Float[Tensor, "B K 2"], size: tuple[int, int], grid: PixelGrid
) -> Iterator[Float[Tensor, "P 2"]]:
    """Yield the pixel centres of an image in row order, a chunk at a time."""
    centers = pixel_centers(means2d, size, grid)
    for places in _runs(len(centers), means2d.shape[0] * means2d.shape[1], _elements(means2d)):
        yield centers[places]


def pixel_centers(like: Tensor, size: tuple[int, int], grid: PixelGrid) -> Float[Tensor, "P 2"]:
    """Return the pixel centres (x, y) of an image in row order."""
    height, width = size
    options = {"device": like.device, "dtype": like.dtype}
    rows = torch.arange(height, **options) * grid.stride + (grid.top + 0.5)
    columns = torch.arange(width, **options) * grid.stride + (grid.left + 0.5)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)


def joined(parts: list[Tensor], places: list[slice | Tensor], size: tuple[int, int]) -> Tensor:
    """Return the images [B, *, H, W] of values [B, *, P] of pieces, in the order in which these came."""
    values = torch.cat(parts, dim=-1)
    if places and isinstance(places[0], Tensor):
        order = torch.cat([each for each in places if isinstance(each, Tensor)])
        values = values.index_select(-1, order.argsort())
    return values.unflatten(-1, size)


def _members(lists: TileLists, pixels: Float[Tensor, "P 2"]) -> Int64[Tensor, " M"]:
    """The splats that are in the list of any tile of the whole picture between the first pixel and the last."""
    (left, top), (right, bottom) = ((pixels[index] / TILE).long().tolist() for index in (0, -1))
    met = lists.rows[..., top : bottom + 1].any(-1) & lists.columns[..., left : right + 1].any(-1)
    return met.any(0).nonzero().squeeze(1)


def _runs(pixels: int, splats: int, most: int) -> Iterator[slice]:
    step = max(FEWEST_PIXELS, most // max(1, splats))
    for start in range(0, pixels, step):
        yield slice(start, start + step)


def _elements(like: Tensor) -> int:
    return CHUNK_ELEMENTS.get(like.device.type, 2**22)


def _reached(size: tuple[int, int], grid: PixelGrid) -> tuple[int, int]:
    """The height and width up to the last pixels of a grid."""
    return grid.top + grid.stride * (size[0] - 1) + 1, grid.left + grid.stride * (size[1] - 1) + 1
