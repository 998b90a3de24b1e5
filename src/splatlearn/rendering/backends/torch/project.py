"""The specification's first step: from 3D Gaussians and a camera to 2D splats, not sorted."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering.backends.torch.primitives.primitive import Placed
from splatlearn.rendering.backends.torch.primitives.registry import formula_of, primitive_of
from splatlearn.rendering.formula import JACOBIAN_LIMIT
from splatlearn.rendering.splats import Splats


class Projected(NamedTuple):
    """Splats of B images, not sorted, and the Gaussian that each comes from.

    - `ids` [B, K]: the index of the Gaussian, −1 for one that was culled. Sets of a batch have one size, so that a
      culled Gaussian keeps its place, with opacity 0.
    """

    splats: Splats
    ids: Int64[Tensor, "B K"]


def project(gaussians: Gaussians, view: Float[Tensor, "*B 4 4"], camera: Camera, filter: str = "point") -> Projected:
    """Project Gaussians [B, K] to splats in the same order, and cull those that the camera does not show.

    Those are not between the near and the far plane, or where the lens shows nothing.

    - `view`: matrices from world to camera, for all sets or one for each; `camera`: its other numbers are used.
    - `filter`: what a pixel integrates; their primitive must know it.
    """
    turn, shift = view[..., :3, :3], view[..., :3, 3]
    x, y, z = (gaussians.means @ turn.mT + shift.unsqueeze(-2)).unbind(-1)
    model, lens = camera.projection, camera.lens(z)
    depths = model.depth(x, y, z)
    drawn = (depths >= camera.near) & model.shows(x, y, z, lens)
    if camera.far != math.inf:
        drawn = drawn & (depths <= camera.far)
    z_safe = torch.where(drawn, z, camera.near)

    axes = turn.unsqueeze(-3) @ quaternions_to_matrices(gaussians.quaternions)
    rows = axes * gaussians.scales.unsqueeze(-2)
    across, down, along = rows.unbind(-2)
    # The rows of J W R S: what a unit sphere in the Gaussian's own axes becomes on the image.
    on_image = model.pushforward(x, y, z_safe, (across, down, along), lens, JACOBIAN_LIMIT)
    primitive = primitive_of(gaussians.primitive, filter)
    packed, opacities = primitive.pack(
        Placed((x, y, z_safe), rows, on_image, gaussians.opacities, gaussians.shapes, filter, model, lens)
    )
    splats = Splats(
        means2d=torch.stack(model.project(x, y, z_safe, lens), dim=-1),
        conics=packed[..., :3],
        depths=depths,
        colors=gaussians.fixed_colors(),
        opacities=_only_where(drawn, opacities),
        shapes=packed[..., 3:] if packed.shape[-1] > 3 else None,
        primitive=formula_of(primitive),
    )
    ids = torch.arange(gaussians.count, device=z.device).expand(z.shape)
    return Projected(splats, torch.where(drawn, ids, -1))


def _only_where(drawn: Bool[Tensor, "B K"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    return torch.where(drawn, opacities, 0.0)
