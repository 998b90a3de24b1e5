"""Projection: the choice between specification and compiled kernels.

A compiled projection is one registered operation, which autograd, torch.compile and export see as a single node.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.core.operation import is_transformed, operation
from splatlearn.rendering.backends.torch import bin as torch_bin
from splatlearn.rendering.backends.torch import project as torch_project
from splatlearn.rendering.backends.torch.primitives.registry import check_primitive
from splatlearn.rendering.choice import BACKENDS, COMPILED, check_backend, check_filter
from splatlearn.rendering.derivatives import has_no_second_derivative, refuse_transforms
from splatlearn.rendering.formula import EPS2D, JACOBIAN_LIMIT
from splatlearn.rendering.leading import flat_camera
from splatlearn.rendering.splats import Splats, working_dtype
from splatlearn.rendering.view_colors import seen_by


def project(gaussians: Gaussians, camera: Camera, backend: str = "auto", filter: str = "point") -> Splats:
    """Project Gaussians [B, K] through a camera and sort them near to far (equal depths keep their order).

    Gaussians with `sh` get the colours that the camera sees (`splatlearn.rendering.seen_by`).

    The equations are in `splatlearn.rendering.formula`. Half precision is computed in float32. Gaussians nearer than
    `camera.near` or farther than `camera.far` get opacity 0. For a panorama, conics are those of the picture's plane
    at each centre: what `composite` makes of them is right for small Gaussians away from seam and poles, and `render`
    for all.

    - `camera`: one for all sets, or a batch [B] with one for each set.
    - `backend`: "torch" is the specification. "auto" and every other name of `available_backends()` use a compiled
      kernel if it supports device, dtype, camera and filter (see `takes_compiled`), and the specification otherwise.
    - `filter`: "point", or "mip" for opacities that make up for the blur of small splats.

    Raises InputError for an unknown backend, a filter that the primitive does not know, Gaussians without exactly one
    batch axis, or a camera of another batch; BackendError for second derivatives of a compiled kernel.
    """
    check_backend(backend)
    check_filter(filter)
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    check_primitive(gaussians, filter)
    if len(gaussians.batch_shape) != 1:
        raise InputError(f"gaussians: expected means of shape [B, K, 3], got {list(gaussians.means.shape)}")
    dtype = working_dtype(gaussians.means.dtype)
    if any(tensor.dtype != dtype for tensor in gaussians.tensors().values()):
        gaussians = gaussians.to(dtype)
    camera = flat_camera(camera, gaussians.batch_shape)
    gaussians = seen_by(gaussians, camera)
    view = camera.viewmats.to(gaussians.means.dtype)
    if backend != "torch" and takes_compiled(gaussians, camera, filter):
        return _project_compiled(gaussians, view, camera, filter)
    view = view.to(gaussians.means.device)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        return torch_bin.sort_near_to_far(torch_project.project(gaussians, view, camera, filter)).splats


def takes_compiled(gaussians: Gaussians, camera: Camera, filter: str = "point") -> bool:
    """Return whether a compiled kernel can project these Gaussians.

    It supports float32 on a CPU or GPU, and filters and cameras with a model that the backend knows, one set of
    intrinsics for all views, no far plane and no gradient. It does not support function transforms.
    """
    name = COMPILED.get(gaussians.means.device.type)
    return (
        name is not None
        and BACKENDS[name].support.status() == "ok"
        and all(tensor.dtype == torch.float32 for tensor in gaussians.tensors().values())
        and camera.model in BACKENDS[name].project.MODELS
        and filter in BACKENDS[name].project.DRAWN.get(gaussians.primitive, ())
        and not camera.has_own_intrinsics
        and camera.far == math.inf
        and not camera.viewmats.requires_grad
        and not is_transformed(*gaussians.tensors().values(), camera.viewmats)
    )


def _project_compiled(gaussians: Gaussians, view: Tensor, camera: Camera, filter: str) -> Splats:
    """Project and sort Gaussians [B, K] by views [4, 4] or [B, 4, 4] and the camera's intrinsics.

    A single view stays on the host, because copying it to a GPU would wait for the GPU.
    """
    if view.ndim == 3 or view.device.type != "cpu":
        view = view.to(gaussians.means.device)
    fx, fy, cx, cy = (float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy"))
    limits = JACOBIAN_LIMIT * camera.width / 2 / fx, JACOBIAN_LIMIT * camera.height / 2 / fy
    means2d, conics, depths, colors, opacities, _ = torch.ops.splatlearn.project(
        gaussians.means,
        gaussians.scales,
        gaussians.quaternions,
        gaussians.fixed_colors(),
        gaussians.opacities,
        view if view.ndim == 3 else view.unsqueeze(0),
        camera.model,
        (fx, fy, cx, cy, camera.near, *limits, *((EPS2D, 1.0) if filter == "mip" else ())),
    )
    return Splats(means2d, conics, depths, colors, opacities)


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
    BACKENDS[COMPILED[means.device.type]].project.project(
        (means, scales, quaternions, colors, opacities, views), outputs, model, lens
    )
    return outputs


def _empty_outputs(means: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """means2d, conics, depths, colors, opacities, and the index of the Gaussian of each splat."""
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
    """From the gradients of the splats to those of the Gaussians.

    The inputs are (means, scales, quaternions, opacities, views, order).
    """
    results = _empty_gradients(inputs, gradients)
    BACKENDS[COMPILED[inputs[0].device.type]].project.project_backward(inputs, gradients, results, model, lens)
    return results


def _empty_gradients(inputs: list[Tensor], gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    means, scales, quaternions, *_ = inputs
    _, _, _, colors, opacities = gradients
    like = [means.new_empty(tensor.shape) for tensor in (means, scales, quaternions, colors, opacities)]
    return like[0], like[1], like[2], like[3], like[4]


def _setup_context(ctx, inputs, output):
    means, scales, quaternions, _, opacities, views, model, lens = inputs
    ctx.save_for_backward(means, scales, quaternions, opacities, views, output[-1])
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
