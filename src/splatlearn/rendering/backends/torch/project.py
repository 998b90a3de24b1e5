"""Projection: from 3D Gaussians and a camera to 2D splats, sorted near to far."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians, quaternions_to_matrices
from splatlearn.core.kinds import check_kind
from splatlearn.rendering import projection
from splatlearn.rendering.choice import check_backend
from splatlearn.rendering.formula import BLUR, JACOBIAN_LIMIT
from splatlearn.rendering.leading import flat_camera
from splatlearn.rendering.splats import Splats


def project(gaussians: Gaussians, camera: Camera, backend: str = "auto") -> Splats:
    """Project Gaussians [B, K] through a camera and sort them near to far (equal depths keep their order).

    Covariances are carried by the EWA linearisation, J W Σ Wᵀ Jᵀ + BLUR·I (Zwicker et al. 2001, eq. 26), where J is
    the Jacobian of the camera model. Half precision is computed in float32. Gaussians nearer than `camera.near` or
    farther than `camera.far` get opacity 0. The Jacobian is taken at most JACOBIAN_LIMIT half-images off the axis, as
    in 3D Gaussian splatting.

    - `camera`: one for all sets, or a batch [B] with one for each.

    - `backend`: "torch" for the specification, which follows here; with any other name of `available_backends()` and
      with "auto", float32 is projected by a compiled kernel if there is one for the device and the camera (see
      `projection.takes`), and neither forward-mode derivatives nor function transforms are in force.

    Raises InputError for an unknown backend, and when the Gaussians have no or more than one batch dimension, or the
    camera's matrices do not fit; BackendError for second derivatives through a compiled kernel.
    """
    check_backend(backend)
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    if len(gaussians.batch_shape) != 1:
        raise InputError(f"gaussians: expected means of shape [B, K, 3], got {list(gaussians.means.shape)}")
    dtype = working_dtype(gaussians.means.dtype)
    if any(tensor.dtype != dtype for tensor in vars(gaussians).values()):
        gaussians = gaussians.to(dtype)
    view = flat_camera(camera, gaussians.batch_shape).viewmats.to(gaussians.means.dtype)
    if backend != "torch" and projection.takes(gaussians, camera):
        return projection.project(gaussians, view, camera)
    view = view.to(gaussians.means.device)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        return _sort_near_to_far(_project(gaussians, view, camera))


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which the renderer computes: float64 stays, everything else is float32."""
    return dtype if dtype == torch.float64 else torch.float32


def _project(gaussians: Gaussians, view: Float[Tensor, "*B 4 4"], camera: Camera) -> Splats:
    turn, shift = view[..., :3, :3], view[..., :3, 3]
    x, y, z = (gaussians.means @ turn.mT + shift.unsqueeze(-2)).unbind(-1)
    drawn = z >= camera.near
    if camera.far != math.inf:
        drawn = drawn & (z <= camera.far)
    z_safe = torch.where(drawn, z, camera.near)

    axes = turn.unsqueeze(-3) @ quaternions_to_matrices(gaussians.quaternions)
    rows = axes * gaussians.scales.unsqueeze(-2)
    model, lens = camera.projection, camera.lens(z)
    across, down, along = rows.unbind(-2)
    # The rows of J W R S: what a unit sphere in the Gaussian's own axes becomes on the image.
    conics = _conics(model.pushforward(x, y, z_safe, (across, down, along), lens, JACOBIAN_LIMIT))
    return Splats(
        centers=torch.stack(model.project(x, y, z_safe, lens), dim=-1),
        conics=conics,
        depths=z,
        colors=gaussians.colors,
        opacities=_only_where(drawn, gaussians.opacities),
    )


def _only_where(drawn: Bool[Tensor, "B K"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    return torch.where(drawn, opacities, 0.0)


def _conics(rows: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]]) -> Float[Tensor, "B K 3"]:
    """Inverse of M Mᵀ + BLUR·I for the 2×3 matrix M of the given rows.

    The determinant is written as |m₁ × m₂|² + BLUR (|m₁|² + |m₂|²) + BLUR², a sum of positive terms: the usual
    difference of products loses thin tilted Gaussians in float32.
    """
    first, second = rows
    xx = (first * first).sum(-1)
    yy = (second * second).sum(-1)
    xy = (first * second).sum(-1)
    cross = torch.linalg.cross(first, second)
    determinant = (cross * cross).sum(-1) + BLUR * (xx + yy) + BLUR * BLUR
    return torch.stack([yy + BLUR, -xy, xx + BLUR], dim=-1) / determinant.unsqueeze(-1)


def _sort_near_to_far(splats: Splats) -> Splats:
    order = splats.depths.argsort(dim=1, stable=True)

    def gather(values: Tensor) -> Tensor:
        if values.ndim == 2:
            return values.gather(1, order)
        return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return Splats(
        centers=gather(splats.centers),
        conics=gather(splats.conics),
        depths=gather(splats.depths),
        colors=gather(splats.colors),
        opacities=gather(splats.opacities),
    )
