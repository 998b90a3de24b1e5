"""The compiled projection: calls of the extension that `native/rendering/projection.cpp` makes."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.cpu.support import arrays, kernels

MODELS = ("pinhole", "orthographic", "gmae")
"""The camera models that the kernels know, by name."""
FILTERS = ("point", "mip")
"""The filters of Gaussians that the kernels know, by name."""
DRAWN = {GAUSSIAN: FILTERS}
"""The filters that the kernels know, by the name of the primitive."""
COMPENSATED = 9
"""Numbers of a lens whose filter compensates."""


def project(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], model: str, lens: list[float]) -> None:
    """Fill (means2d, conics, depths, colors, opacities, order) from (means, …, opacities, views); float32."""
    kernels().project(*arrays(*inputs), model, lens, *(each.numpy() for each in outputs), torch.get_num_threads())


def project_backward(
    inputs: list[Tensor], gradients: list[Tensor], results: tuple[Tensor, ...], model: str, lens: list[float]
) -> None:
    """Fill the gradients of the Gaussians from the inputs and the gradients of the splats.

    The inputs are (means, scales, quaternions, opacities, views, order).
    """
    means, scales, quaternions, opacities, views, order = arrays(*inputs)
    places = means, scales, quaternions, views, order
    filled = [each.numpy() for each in results]
    # Only where opacities make up for the filter does a gradient depend on them.
    more = [opacities] if len(lens) == COMPENSATED else []
    kernels().project_backward(*places, model, lens, *arrays(*gradients), *filled, torch.get_num_threads(), *more)
