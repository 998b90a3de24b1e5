"""Compiled projection as one operation that autograd, torch.compile and export see as a single node.

The arithmetic is that of `rendering/projection.py`; see `native/projection.cpp` for CPUs and `project_kernels` for GPUs.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.operation import has_no_second_derivative, is_transformed, operation, refuse_transforms
from splatlearn.rendering.backends.cpu import blend as cpu_blend
from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.backends.triton import project as triton_project
from splatlearn.rendering.formula import JACOBIAN_LIMIT
from splatlearn.rendering.splats import Splats

COMPILED_MODELS = ("pinhole", "orthographic", "gmae")
"""The camera models that both compiled projections know, by name."""
ENGINES = {"cpu": "native", "cuda": "triton"}
"""What computes the operation, by the device of its inputs."""


def takes(gaussians: Gaussians, camera: Camera) -> bool:
    """Whether a compiled projection can be used.

    It takes float32 on a CPU or GPU. The camera must have a model of COMPILED_MODELS, one set of intrinsics for all
    views, no far plane and no gradient. No function transform may be in force.
    """
    engine = ENGINES.get(gaussians.means.device.type)
    return (
        engine is not None
        and (cpu_blend if engine == "native" else triton_blend).status() == "ok"
        and all(tensor.dtype == torch.float32 for tensor in vars(gaussians).values())
        and camera.model in COMPILED_MODELS
        and not camera.has_own_intrinsics
        and camera.far == math.inf
        and not camera.viewmats.requires_grad
        and not is_transformed(*vars(gaussians).values(), camera.viewmats)
    )


def project(gaussians: Gaussians, view: Tensor, camera: Camera) -> Splats:
    """Project and sort Gaussians [B, K] by views [4, 4] or [B, 4, 4] and the camera's intrinsics.

    One view for all may stay on the host: copying it to a GPU would wait for the GPU.
    """
    if view.ndim == 3 or view.device.type != "cpu":
        view = view.to(gaussians.means.device)
    fx, fy, cx, cy = (float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy"))
    limits = JACOBIAN_LIMIT * camera.width / 2 / fx, JACOBIAN_LIMIT * camera.height / 2 / fy
    centers, conics, depths, colors, opacities, _ = torch.ops.splatlearn.project(
        gaussians.means,
        gaussians.scales,
        gaussians.quaternions,
        gaussians.colors,
        gaussians.opacities,
        view if view.ndim == 3 else view.unsqueeze(0),
        camera.model,
        (fx, fy, cx, cy, camera.near, *limits),
    )
    return Splats(centers, conics, depths, colors, opacities)


def _kernel() -> ModuleType:
    assert cpu_blend._native is not None, cpu_blend.status()
    return cpu_blend._native


def _arrays(*tensors: Tensor) -> list:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _project(
    means: torch.Tensor,
    scales: torch.Tensor,
    quaternions: torch.Tensor,
    colors: torch.Tensor,
    opacities: torch.Tensor,
    views: torch.Tensor,
    model: str,
    lens: list[float],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    outputs = _empty_outputs(means, colors)
    if ENGINES[means.device.type] == "triton":
        triton_project.project((means, scales, quaternions, colors, opacities, views), outputs, model, lens)
        return outputs
    inputs = _arrays(means, scales, quaternions, colors, opacities, views)
    _kernel().project(*inputs, model, lens, *(output.numpy() for output in outputs), torch.get_num_threads())
    return outputs


def _empty_outputs(means: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centers, conics, depths, colors, opacities, and the place in the input of each splat."""
    leading = means.shape[:2]
    return (
        means.new_empty(*leading, 2),
        means.new_empty(*leading, 3),
        means.new_empty(leading),
        means.new_empty(*leading, colors.shape[-1]),
        means.new_empty(leading),
        means.new_empty(leading, dtype=torch.int32),
    )


def _project_backward(
    inputs: list[torch.Tensor], gradients: list[torch.Tensor], model: str, lens: list[float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """From (means, scales, quaternions, views, order) and the gradients of the splats to those of the Gaussians."""
    results = _empty_gradients(inputs, gradients)
    if ENGINES[inputs[0].device.type] == "triton":
        triton_project.project_backward(inputs, gradients, results, model, lens)
        return results
    arrays = [result.numpy() for result in results]
    threads = torch.get_num_threads()
    _kernel().project_backward(*_arrays(*inputs), model, lens, *_arrays(*gradients), *arrays, threads)
    return results


def _empty_gradients(inputs: list[Tensor], gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    means, scales, quaternions, _, _ = inputs
    _, _, _, colors, opacities = gradients
    like = [means.new_empty(tensor.shape) for tensor in (means, scales, quaternions, colors, opacities)]
    return like[0], like[1], like[2], like[3], like[4]


def _setup_context(ctx, inputs, output):
    means, scales, quaternions, _, _, views, model, lens = inputs
    ctx.save_for_backward(means, scales, quaternions, views, output[-1])
    ctx.model, ctx.lens = model, lens


def _backward(ctx, *gradients):
    *of_splats, _ = gradients
    refuse_transforms("project", True, *of_splats)
    results = torch.ops.splatlearn.project_backward([*ctx.saved_tensors], of_splats, ctx.model, ctx.lens)
    return *results, None, None, None


operation(
    "project",
    "(Tensor means, Tensor scales, Tensor quaternions, Tensor colors, Tensor opacities, Tensor views, "
    "str model, float[] lens) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _project,
    lambda means, scales, quaternions, colors, *_: _empty_outputs(means, colors),
    _setup_context,
    _backward,
)
operation(
    "project_backward",
    "(Tensor[] inputs, Tensor[] gradients, str model, float[] lens) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _project_backward,
    lambda inputs, gradients, *_: _empty_gradients(inputs, gradients),
    backward=has_no_second_derivative("project"),
)
