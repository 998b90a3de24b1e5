"""The compiled compositing: tiles, SIMD over pixels, hand-written backward; see `native/rendering/` for how."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering.backends.cpu.support import arrays, kernels


def forward(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width)."""
    inputs = arrays(means2d, conics, opacities, colors, background)
    color = torch.empty(colors.shape[0], colors.shape[-1], *size)
    transmittance = torch.empty(colors.shape[0], *size)
    kernels().forward(*inputs, color.numpy(), transmittance.numpy(), torch.get_num_threads())
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, conics, opacities, colors, background) from those of (color, transmittance)."""
    results = [torch.empty(tensor.shape) for tensor in inputs]
    kernels().backward(
        *arrays(*inputs, *outputs, *gradients), *(result.numpy() for result in results), torch.get_num_threads()
    )
    return results[0], results[1], results[2], results[3], results[4]
