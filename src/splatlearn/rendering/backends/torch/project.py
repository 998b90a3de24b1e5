"""The specification's first step: from 3D Gaussians and a camera to 2D splats, not sorted."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians, quaternions_to_matrices
from splatlearn.rendering.formula import EPS2D, JACOBIAN_LIMIT
from splatlearn.rendering.splats import Splats


def project(gaussians: Gaussians, view: Float[Tensor, "*B 4 4"], camera: Camera) -> Splats:
    """Project Gaussians [B, K] to splats in the same order: splat k is that of Gaussian k.

    Gaussians that are not between the near and the far plane are culled: they keep their places with opacity 0.

    - `view`: matrices from world to camera, for all sets or one for each; `camera`: its other numbers are used.
    """
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
        means2d=torch.stack(model.project(x, y, z_safe, lens), dim=-1),
        conics=conics,
        depths=z,
        colors=gaussians.colors,
        opacities=_only_where(drawn, gaussians.opacities),
    )


def _only_where(drawn: Bool[Tensor, "B K"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    return torch.where(drawn, opacities, 0.0)


def _conics(rows: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]]) -> Float[Tensor, "B K 3"]:
    """Inverse of M Mᵀ + EPS2D·I for the 2×3 matrix M of the given rows.

    The determinant is written as |m₁ × m₂|² + EPS2D (|m₁|² + |m₂|²) + EPS2D², a sum of positive terms: the usual
    difference of products loses thin tilted Gaussians in float32.
    """
    first, second = rows
    xx = (first * first).sum(-1)
    yy = (second * second).sum(-1)
    xy = (first * second).sum(-1)
    cross = torch.linalg.cross(first, second)
    determinant = (cross * cross).sum(-1) + EPS2D * (xx + yy) + EPS2D * EPS2D
    return torch.stack([yy + EPS2D, -xy, xx + EPS2D], dim=-1) / determinant.unsqueeze(-1)
