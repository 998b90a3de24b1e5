"""Images as sequences of flattened patches, and back.

Letters in shapes: B images, C channels, H W pixels, N patches, PPC = P·P·C numbers of a patch of side P.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.masking import Grid
from splatlearn.models.nn.sizes import grid_of


def patchify(images: Float[Tensor, "B C H W"], patch_size: int) -> Float[Tensor, "B N PPC"]:
    """Cut images into patches row by row, each flattened in the order of MAE: row, column, channel.

    Raises InputError unless the patch divides height and width.
    """
    rows, columns = grid_of(images.shape[2], images.shape[3], patch_size)
    cut = images.reshape(images.shape[0], images.shape[1], rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Float[Tensor, "B N PPC"], patch_size: int, grid: Grid) -> Float[Tensor, "B C H W"]:
    """Put patches back together: the inverse of `patchify`.

    Raises InputError unless there are rows·columns patches of a whole number of channels.
    """
    rows, columns = grid
    if patches.shape[1] != rows * columns or patches.shape[2] % patch_size**2:
        raise InputError(
            f"patches: expected shape [B, {rows * columns}, {patch_size**2}·C] for a {rows}×{columns} grid of "
            f"patches of {patch_size} px, got {list(patches.shape)}"
        )
    cut = patches.reshape(patches.shape[0], rows, columns, patch_size, patch_size, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
