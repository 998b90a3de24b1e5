"""The compiled compositing of smooth convexes, whose hulls on the image are those of the specification."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.pixel_grid import WHOLE_PICTURE, PixelGrid
from splatlearn.core.gaussians import CONVEX
from splatlearn.rendering.backends.cpu.support import arrays, kernels
from splatlearn.rendering.backends.torch.primitives.registry import formula


def forward(
    means2d: Float[Tensor, "B K 2"],
    packed: Float[Tensor, "B K P"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
    grid: PixelGrid = WHOLE_PICTURE,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite convexes over images of `size` (height, width), whose pixels are those of a grid."""
    color = torch.empty(colors.shape[0], colors.shape[-1], *size)
    transmittance = torch.empty(colors.shape[0], *size)
    kernels().convex_forward(
        *_given((means2d, packed, opacities, colors, background), grid), color.numpy(), transmittance.numpy(),
        torch.get_num_threads(),
    )  # fmt: skip
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    grid: PixelGrid = WHOLE_PICTURE,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, packed, opacities, colors, background) from those of (color, transmittance)."""
    results = [torch.empty(tensor.shape) for tensor in inputs]
    kernels().convex_backward(
        *_given(inputs, grid), *arrays(*outputs, *gradients), *(result.numpy() for result in results),
        torch.get_num_threads(),
    )  # fmt: skip
    return results[0], results[1], results[2], results[3], results[4]


def _given(inputs: tuple[Tensor, ...], grid: PixelGrid) -> list[object]:
    """What both functions take first: the splats, the boxes of their pictures, and the grid."""
    with torch.no_grad():
        boxes = formula(CONVEX).bounds(inputs[1], inputs[2])
    return [*arrays(*inputs, boxes), grid.stride, grid.left, grid.top]
