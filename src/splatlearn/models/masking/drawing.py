"""Masks drawn at random: one for each image, or several that share no visible patch.

Letters in shapes: B images, N patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.models.masking.mask import Grid, Mask
from splatlearn.models.masking.patterns import block_order, lattice_order
from splatlearn.models.options import MaskPattern


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
      on a torus at a random place; `"grid"` of every n-th patch along both axes, with a random offset.

    Raises InputError when the noise does not fit the grid, for an unknown pattern, a ratio as `mask_from_noise` does, a
    count for which there are too few patches, and `"grid"` where its steps do not divide the grid.
    """
    if pattern not in get_args(MaskPattern):
        raise InputError(f"pattern: expected one of {', '.join(get_args(MaskPattern))}, got {pattern!r}")
    order, ends = _order(noise, grid), _ends(grid, count, ratio)
    if pattern == "block":
        order = block_order(order, noise, grid, ends)
    elif pattern == "grid":
        order = lattice_order(order, noise, grid, ends)
    return [
        Mask(order[:, start:end], torch.cat([order[:, :start], order[:, end:]], dim=1), grid)
        for start, end in zip([0, *ends], ends[:count], strict=False)
    ]


def _ends(grid: Grid, count: int, ratio: float | None) -> list[int]:
    """Ends of the visible sets in the order of the patches: of `count` masks, and of others that would fit."""
    check_whole("count", count)
    total = grid[0] * grid[1]
    if ratio is None:
        if not 2 <= count <= total:
            raise InputError(f"count: expected 2 to {total} masks for {total} patches, got {count}")
        return list(accumulate(total // count + (index < total % count) for index in range(count)))
    keep = _kept(grid, ratio)
    if not 1 <= count <= total // keep:
        raise InputError(
            f"count: expected 1 to {total // keep} masks that hide {ratio} of a {grid[0]}×{grid[1]} grid, got {count}: "
            f"each shows int({total}·(1 − {ratio})) = {keep} patches, and {count}·{keep} = {count * keep} of {total} "
            "cannot be disjoint; ask for fewer masks or a larger ratio"
        )
    return list(range(keep, total + 1, keep))


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
    """Number of visible patches."""
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
