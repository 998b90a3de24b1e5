"""Launches of the GPU projection: depths, a stable sort, splats; and back. See `project_kernels` for the kernels."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN
from splatlearn.rendering.backends.triton.support import on_device

BLOCK = 128
"""Gaussians of one program."""
MODELS = ("pinhole", "orthographic", "gmae")
"""The camera models that the kernels know, by name."""
FILTERS = ("point",)
"""The filters of Gaussians that the kernels know, by name."""
DRAWN = {GAUSSIAN: FILTERS}
"""The filters that the kernels know, by the name of the primitive."""


def project(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], model: str, lens: list[float]) -> None:
    """Fill (means2d, conics, depths, colors, opacities, order) from (means, …, opacities, views); float32."""
    _check_model(model)
    means, scales, quaternions, colors, opacities, view = (tensor.detach().contiguous() for tensor in inputs)
    means2d, conics, depths, of_colors, of_opacities, order_out = outputs
    batch, count, channels = colors.shape
    if depths.numel() == 0:
        return
    fx, fy, cx, cy, near, limit_x, limit_y = lens
    grid = (batch, -(-count // BLOCK))
    with on_device(means):
        views, stride = _views(view, means)
        unsorted = torch.empty_like(depths)
        _kernels().depths_of[grid](means, views, unsorted, count, stride, BLOCK=BLOCK)
        nearest_first, order = unsorted.sort(dim=1, stable=True)
        depths.copy_(nearest_first)
        _kernels().project_forward[grid](
            means, scales, quaternions, colors, opacities, views, order,
            means2d, conics, of_colors, of_opacities, order_out,
            count, stride, fx, fy, cx, cy, near, limit_x, limit_y,
            CHANNELS=channels, PADDED=_padded(channels), MODEL=model, BLOCK=BLOCK,
        )  # fmt: skip


def project_backward(
    inputs: list[Tensor], gradients: list[Tensor], results: tuple[Tensor, ...], model: str, lens: list[float]
) -> None:
    """Fill the gradients of the Gaussians from the inputs and the gradients of the splats.

    The inputs are (means, scales, quaternions, opacities, views, order).
    """
    _check_model(model)
    means, scales, quaternions, _, view, order = (tensor.detach().contiguous() for tensor in inputs)
    toward = [gradient.detach().contiguous() for gradient in gradients]
    batch, count, channels = toward[3].shape
    if order.numel() == 0:
        return
    fx, fy, _, _, near, limit_x, limit_y = lens
    with on_device(means):
        views, stride = _views(view, means)
        _kernels().project_backward[(batch, -(-count // BLOCK))](
            means, scales, quaternions, views, order, *toward, *results,
            count, stride, fx, fy, near, limit_x, limit_y,
            CHANNELS=channels, PADDED=_padded(channels), MODEL=model, BLOCK=BLOCK,
        )  # fmt: skip


def _check_model(model: str) -> None:
    """Raise InputError for a model that the kernels would take for another."""
    if model not in MODELS:
        raise InputError(
            f"camera: expected one of the models of the Triton projection, {', '.join(MODELS)}, got {model}"
        )


def _views(view: Tensor, means: Tensor) -> tuple[Tensor, int]:
    """Matrices on the device, and the stride from one image's matrix to the next: 0 if all images share one."""
    if view.shape[0] > 1:
        return view, 16
    if view.device == means.device:
        return view, 0
    # As arguments of a kernel: a copy from the host would wait for the device, and could not be captured in a graph.
    written = means.new_empty(16)
    _kernels().write_view[(1,)](written, *view.flatten().tolist()[:12])
    return written, 0


def _padded(channels: int) -> int:
    return 1 << max(0, channels - 1).bit_length()


def _kernels() -> ModuleType:
    from splatlearn.rendering.backends.triton import project_kernels

    return project_kernels
