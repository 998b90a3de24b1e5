"""The GPU kernels' backend: sizes, launches and results; see `blend_kernels` for how they work.

Triton is imported with the first call.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.triton.support import float32, on_device

DRAWN = (GAUSSIAN,)
"""The formulas that it composites."""
COLUMNS = 32
"""Width of a tile: the threads of a warp."""
ROWS = {4: 8, 8: 4, 16: 4}
"""Height of a tile by its channels: as much as the registers of a thread hold (137 in the backward pass of an image
with three channels, compiled for sm_90; none spill)."""
PROGRAMS = 4096
"""Bands of tiles to aim at in a backward pass, over all images: a few for each warp that the largest GPUs hold."""
MAX_SUMS = 2**27
"""Numbers that the sums of all bands may take (half a gigabyte); with more splats there are fewer bands."""
FINISHED_SPLATS = 128
"""Splats whose gradients one program finishes."""
CHECKED_NUMBERS = 1024
"""Numbers that one program checks at a time."""


@dataclass(frozen=True)
class Tiling:
    """How the images of a call are cut into tiles, and the tiles of an image into bands."""

    rows: int
    padded: int
    """Channels, as a power of two."""
    across: int
    tiles: int
    bands: int


def tiling(batch: int, count: int, channels: int, size: tuple[int, int]) -> Tiling:
    """The tiles of images of `size` (height, width); a function of the shapes alone, so that results are too."""
    padded = max(4, 1 << (channels - 1).bit_length())
    rows = ROWS[padded]
    across = -(-size[1] // COLUMNS)
    tiles = across * -(-size[0] // rows)
    affordable = MAX_SUMS // max(1, batch * count * (8 + padded))
    bands = max(1, min(tiles, affordable, PROGRAMS // max(1, batch)))
    return Tiling(rows, padded, across, tiles, bands)


def forward(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width); half precision is computed in float32."""
    batch, count, channels = colors.shape
    inputs = float32(means2d, conics, opacities, colors, background)
    color = torch.empty(batch, channels, *size, device=means2d.device)
    transmittance = torch.empty(batch, *size, device=means2d.device)
    if batch == 0:
        return color, transmittance
    cut, kernels = tiling(batch, count, channels, size), _kernels()
    poison = torch.empty(batch, device=means2d.device)
    with on_device(means2d):
        kernels.find_poison[(batch,)](*inputs, poison, count, CHANNELS=channels, BLOCK=CHECKED_NUMBERS)
        kernels.composite_forward[(batch * cut.tiles,)](
            *inputs, poison, color, transmittance, count, *size, cut.across, cut.tiles,
            CHANNELS=channels, PADDED=cut.padded, ROWS=cut.rows, COLUMNS=COLUMNS, num_warps=1,
        )  # fmt: skip
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, conics, opacities, colors, background) from those of (color, transmittance)."""
    *splats, background = float32(*inputs)
    conics, opacities, colors = splats[1:]
    color, transmittance, *toward = float32(*outputs, *gradients)
    results = [torch.empty_like(tensor) for tensor in (*splats, background)]
    batch, count, channels = colors.shape
    if batch == 0:
        return results[0], results[1], results[2], results[3], results[4]
    size = (int(transmittance.shape[-2]), int(transmittance.shape[-1]))
    cut, kernels = tiling(batch, count, channels, size), _kernels()
    sums = torch.zeros(batch, cut.bands, count, 8 + cut.padded, device=colors.device)
    background_sums = torch.empty(batch, cut.bands, cut.padded, device=colors.device)
    blocks = max(1, -(-count // FINISHED_SPLATS))
    with on_device(colors):
        kernels.composite_backward[(batch * cut.bands,)](
            *splats, color, transmittance, *toward, sums, background_sums,
            count, *size, cut.across, cut.tiles, cut.bands,
            CHANNELS=channels, PADDED=cut.padded, ROWS=cut.rows, COLUMNS=COLUMNS, num_warps=1,
        )  # fmt: skip
        kernels.gradients_of_sums[(batch, blocks)](
            conics, opacities, transmittance, sums, background_sums, *results, count, *size, cut.bands,
            CHANNELS=channels, PADDED=cut.padded, BLOCK=FINISHED_SPLATS,
        )  # fmt: skip
    return results[0], results[1], results[2], results[3], results[4]


def _kernels() -> ModuleType:
    from splatlearn.rendering.backends.triton import blend_kernels

    return blend_kernels
