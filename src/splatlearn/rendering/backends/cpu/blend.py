"""The compiled compositing: tiles, SIMD over pixels, hand-written backward; see `native/rendering/` for how.

Gaussians are drawn in whole pictures, convexes on any grid.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.gaussians import CONVEX, GAUSSIAN
from splatlearn.rendering.backends.cpu import convex
from splatlearn.rendering.backends.cpu.support import arrays, kernels

DRAWN = (GAUSSIAN, CONVEX)
"""The formulas that it composites."""


def forward(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
    grid: PixelGrid = WHOLE_PICTURE,
    primitive: str = GAUSSIAN,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width).

    - `packed`: conics, and further parameters of the primitive, which is named by its formula.
    """
    if primitive == CONVEX:
        return convex.forward(means2d, packed, opacities, colors, background, size, grid)
    inputs = arrays(means2d, packed, opacities, colors, background)
    color = torch.empty(colors.shape[0], colors.shape[-1], *size)
    transmittance = torch.empty(colors.shape[0], *size)
    kernels().forward(*inputs, color.numpy(), transmittance.numpy(), torch.get_num_threads())
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    grid: PixelGrid = WHOLE_PICTURE,
    primitive: str = GAUSSIAN,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, packed, opacities, colors, background) from those of (color, transmittance)."""
    if primitive == CONVEX:
        return convex.backward(inputs, outputs, gradients, grid)
    results = [torch.empty(tensor.shape) for tensor in inputs]
    kernels().backward(
        *arrays(*inputs, *outputs, *gradients), *(result.numpy() for result in results), torch.get_num_threads()
    )
    return results[0], results[1], results[2], results[3], results[4]
