"""What training processes share: latents, with gradients to each, and gradients of small networks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


def process_and_count() -> tuple[int, int]:
    """Which of how many training processes this is; 0 of 1 where none were started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_images(values: Float[Tensor, "M B D"]) -> Float[Tensor, "M A D"]:
    """The values of all A images in all processes, in the order of the processes; this one's own where it is alone.

    Every process must call it with the same shape. The gradient of a process's values is the sum over what all
    processes make of them, so that averaging over processes, as data-parallel training does, is the gradient of the
    mean of their losses.
    """
    if process_and_count()[1] == 1:
        return values
    gathered = _GatherImages.apply(values)
    assert isinstance(gathered, Tensor)
    return gathered


def average_gradients(module: nn.Module) -> None:
    """Average a module's gradients over all processes, which must call it together."""
    _, count = process_and_count()
    if count == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= count


class _GatherImages(torch.autograd.Function):
    """PyTorch's own differentiable gather is deprecated, and its replacement too new for the oldest version we take."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        process, count = process_and_count()
        ctx.first, ctx.length = process * values.shape[1], values.shape[1]
        everyone = [torch.empty_like(values) for _ in range(count)]
        dist.all_gather(everyone, values.contiguous())
        return torch.cat(everyone, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed[:, ctx.first : ctx.first + ctx.length]
