"""Turning what a camera of GMAE paints into a scene that pinhole viewers show alike."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.models import Pinhole
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import matrices_to_quaternions, quaternions_to_matrices
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number


def to_pinhole(gaussians: Gaussians, camera: Camera, eps2d: float = 0.0) -> tuple[Gaussians, Camera]:
    """Gaussians [*B, K] and a pinhole camera at the same place that together give the picture of `camera`.

    A GMAE camera projects centres in parallel and shrinks extents with depth; a viewer has one kind of projection.
    So each Gaussian at depth z moves sideways in proportion to z, and its extents across the line of sight shrink to
    what the camera shows of them; depths stay. The focal length is such that positions at the origin's depth stay,
    with square pixels: for GMAE's camera 8 units back, half the image is seen under the tangent 1/8.

    At the camera's size and place the projected centres, covariances and depths are the same to rounding, where the
    perspective Jacobian is not clamped (centres within 1.3 half-images). What remains different: other sizes, because
    the renderer blurs by 0.3 px² whatever the size; other places, from which GMAE was never trained; a viewer's own
    constants and background; a depth of the Gaussian itself that is free, and is set so that its shape is kept; and
    colours outside of [0, 1], which stay as they are here and which viewers clamp. `fitting.clamping_error` measures
    what that costs, and `fitting.refit_colors` finds colours that need no clamping.

    - `gaussians`: with colours that are the same in every view, unless `camera` is a pinhole: as means move sideways,
      they are seen in other directions.
    - `camera`: `"gmae"`, `"orthographic"`, or `"pinhole"`, whose Gaussians come back as they are.
    - `eps2d`: variance in px² of `camera` added across the line of sight. The renderer's own EPS2D makes a much larger
      picture look like an enlargement of the camera's, where 0 makes it sharper, with gaps between thin Gaussians.

    Computed in float64 without gradients. Raises InputError for an `eps2d` below 0, a batch of cameras, an origin that
    is not before the camera, or `sh` above degree 0 with another camera than a pinhole. Source: arXiv 2501.03229,
    section 3, for the hybrid camera.
    """
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    check_number("eps2d", eps2d)
    if not 0 <= eps2d < math.inf:
        raise InputError(f"eps2d: expected a variance in px² of 0 or more, got {eps2d}")
    if camera.batch_shape:
        raise InputError(f"camera: expected one matrix [4, 4], got {list(camera.viewmats.shape)}")
    view = camera.viewmats.detach().double().to(gaussians.means.device)
    is_pinhole = camera.model == Pinhole.name
    if is_pinhole and not eps2d:
        return gaussians, camera
    if gaussians.degree and not is_pinhole:
        raise InputError(
            f"gaussians: expected the same colours in every view for a {camera.model} camera, got sh of degree "
            f"{gaussians.degree}; splatlearn.rendering.seen_by(gaussians, camera) has those that the camera sees"
        )
    exact = gaussians.detach().to(torch.float64)
    turn, shift = view[:3, :3], view[:3, 3]
    distance = float(shift[2])
    if not is_pinhole and distance <= camera.near:
        raise InputError(f"camera: expected the origin in front of it, got the origin at depth {distance:.4g}")
    pinhole = camera if is_pinhole else _pinhole(camera, distance)
    x, y, z = (exact.means @ turn.T + shift).unbind(-1)
    moved, local = _moved(x, y, z, camera, pinhole)
    axes = local @ turn @ quaternions_to_matrices(exact.quaternions) * exact.scales.unsqueeze(-2)
    if eps2d:
        axes = torch.cat([axes, _blur_axes(z.clamp_min(camera.near), pinhole, eps2d)], dim=-1)
    # The left singular vectors and the singular values of the axes are those of the covariance.
    rotations, scales, _ = torch.linalg.svd(turn.T @ axes, full_matrices=False)
    rotations = rotations * torch.linalg.det(rotations).sign()[..., None, None]
    means = (moved - shift) @ turn
    baked = replace(exact, means=means, scales=scales, quaternions=matrices_to_quaternions(rotations))
    return baked.to(gaussians.means.dtype), pinhole


def _pinhole(camera: Camera, distance: float) -> Camera:
    focal = camera.fx * (1.0 if camera.projection.depth_moves_centers else distance)
    return replace(camera, fx=focal, fy=focal, model=Pinhole.name)


def _moved(
    x: Float[Tensor, "*B K"], y: Float[Tensor, "*B K"], z: Float[Tensor, "*B K"], camera: Camera, pinhole: Camera
) -> tuple[Float[Tensor, "*B K 3"], Float[Tensor, "*B K 3 3"]]:
    """Where centres go in camera space, and the matrices that go with them to extents.

    The pinhole sees f/z (across − X/z·along) of an extent. Setting that to what `camera` sees of it leaves the
    extent along the axis free.
    """
    model, lens, target = camera.projection, camera.lens(z), pinhole.lens(z)
    pixels = model.project(x, y, z, lens)
    moved = torch.stack(pinhole.projection.unproject(*pixels, z, target), dim=-1)
    rows = model.jacobian(x, y, z.clamp_min(camera.near), lens)
    along = torch.zeros_like(moved)
    # With this depth the extents of a GMAE camera keep their axes: the tilt towards the line of sight cancels.
    is_hybrid = model.depth_shrinks_extents and not model.depth_moves_centers
    along[..., 2] = 1.0 / z.clamp_min(camera.near) if is_hybrid else 1.0
    slopes, sizes = moved[..., :2] / z.unsqueeze(-1), torch.stack([z / target.fx, z / target.fy], dim=-1)
    across = sizes.unsqueeze(-1) * rows + slopes.unsqueeze(-1) * along.unsqueeze(-2)
    return moved, torch.cat([across, along.unsqueeze(-2)], dim=-2)


def _blur_axes(z: Float[Tensor, "*B K"], pinhole: Camera, eps2d: float) -> Float[Tensor, "*B K 3 2"]:
    """Two further axes across the line of sight, whose projection is a disc of the blur's variance."""
    size = eps2d**0.5 * z
    zero = torch.zeros_like(z)
    rows = [size / pinhole.fx, zero, zero, size / pinhole.fy, zero, zero]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 2))
