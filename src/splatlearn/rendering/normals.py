"""Normals of Gaussians: the axes along which they are thinnest, on the side that a camera sees."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import SURFEL, Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering.pictures import render


def facing_normals(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "K 3"]:
    """Return the normals of Gaussians [K] in the space of one camera, of length 1, on the side that it sees.

    They are the third axes of surfels, and of other primitives the axes of the smallest scale.
    """
    view = camera.viewmats.to(gaussians.means)
    axes = quaternions_to_matrices(gaussians.quaternions)
    if gaussians.primitive == SURFEL:
        normals = axes[..., 2]
    else:
        thinnest = gaussians.scales.argmin(dim=-1)[:, None, None].expand(-1, 3, 1)
        normals = axes.gather(2, thinnest).squeeze(-1)
    normals = normals @ view[:3, :3].T
    places = gaussians.means @ view[:3, :3].T + view[:3, 3]
    away = (normals * places).sum(-1, keepdim=True).detach() > 0
    return torch.where(away, -normals, normals)


def normal_map(
    gaussians: Gaussians, camera: Camera, backend: str = "auto", filter: str = "point"
) -> Float[Tensor, "3 H W"]:
    """Return the mean normal of what covers each pixel, by weight, in camera space and of length 1.

    - `gaussians` [K] and one `camera`; `backend`, `filter`: see `render`. x points right, y down and z ahead, so that a
      surface that faces the camera has (0, 0, −1). It is 0 where nothing is.
    """
    flat = replace(gaussians, sh=None, colors=facing_normals(gaussians, camera))
    shown = render(flat, camera, (0.0, 0.0, 0.0), backend, depth=False, check=False, filter=filter)
    return torch.nn.functional.normalize(shown.color, dim=0)
