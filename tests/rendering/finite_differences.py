"""Gradients against finite differences, at a cost that does not grow with the number of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SUMS = 6


def assert_gradients(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> None:
    """Check the gradient of every number of the inputs for six random sums of each output.

    `gradcheck` takes as many backward passes as there are outputs, twice over. The weights of the sums are normal, so
    that an error in the gradient of one pixel is about as large in the sums, and those of others do not make up for it
    in all six.

    Args:
        function: Takes the inputs; returns one tensor or several.
        inputs: float64 tensors.
        eps: Step of the finite differences.
        atol, rtol: Tolerances of `torch.autograd.gradcheck`.
    """
    leaves = tuple(each.detach().clone().requires_grad_() for each in inputs)

    def sums(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = function(*tensors)
        # The same weights at each call.
        generator = torch.Generator().manual_seed(0)
        outputs = (found,) if isinstance(found, Tensor) else found
        weights = [torch.randn(SUMS, each.numel(), generator=generator, dtype=each.dtype) for each in outputs]
        return tuple(weight @ each.flatten() for weight, each in zip(weights, outputs, strict=True))

    assert torch.autograd.gradcheck(sums, leaves, eps=eps, atol=atol, rtol=rtol)
