"""The compiled projection: calls of the extension that `native/rendering/projection.cpp` makes."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.rendering.backends.cpu.support import arrays, kernels

MODELS = ("pinhole", "orthographic", "gmae")
"""The camera models that the kernels know, by name."""


def project(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], model: str, lens: list[float]) -> None:
    """Fill (means2d, conics, depths, colors, opacities, order) from (means, …, opacities, views); float32."""
    kernels().project(*arrays(*inputs), model, lens, *(each.numpy() for each in outputs), torch.get_num_threads())


def project_backward(
    inputs: list[Tensor], gradients: list[Tensor], results: tuple[Tensor, ...], model: str, lens: list[float]
) -> None:
    """Fill the gradients of the Gaussians from (means, scales, quaternions, views, order) and those of the splats."""
    filled = [each.numpy() for each in results]
    kernels().project_backward(*arrays(*inputs), model, lens, *arrays(*gradients), *filled, torch.get_num_threads())
