"""The panorama: a camera that shows all directions, longitude to the right and latitude down (equirectangular).

Its picture of a Gaussian is taken in the plane that touches the unit sphere at the Gaussian's own direction m, with the
Jacobian (I − m mᵀ)/|t| of a place t before the camera (360-GS, Bai et al. 2024, section 3.2). That is what a pinhole
camera shows that looks straight at the Gaussian.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.models import CameraModel, Lens, Pixels, Points, register_camera_model

POLE = 1e-6
"""Sine of the angle to the vertical below which a direction has no east."""
FULL_TURN = 1e-4
"""Relative tolerance between the pixels of a full turn and the width of the picture."""


@register_camera_model
class Panorama(CameraModel):
    """All directions: u = fx·longitude + cx, v = fy·latitude + cy, with longitude atan2(x, z), and latitude down.

    `fx` and `fy` are pixels per radian: width / 2π and height / π.
    """

    name = "panorama"
    is_spherical = True
    measures_distance = True

    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        level, forward = _level(x, y, z)
        longitude, latitude = torch.atan2(x, forward), torch.atan2(y, level)
        return lens.fx * longitude + lens.cx, lens.fy * latitude + lens.cy

    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        longitude, latitude = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
        level = depth * torch.cos(latitude)
        return level * torch.sin(longitude), depth * torch.sin(latitude), level * torch.cos(longitude)

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.stack([x, y, z], dim=-1).norm(dim=-1)

    def refusal(self, lens: Lens) -> str | None:
        for name, value, wanted, size in (
            ("fx", lens.fx, lens.width / (2 * math.pi), "width / 2π"),
            ("fy", lens.fy, lens.height / math.pi, "height / π"),
            ("cy", lens.cy, lens.height / 2, "height / 2"),
        ):
            if isinstance(value, Tensor) or abs(value - wanted) > FULL_TURN * wanted:
                got = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"{value:.6g}"
                return f"{name}: expected {size} = {wanted:.6g} of a panorama, got {got}; use Camera.panorama"
        return None

    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        """Return J M at the place itself; `limit` is ignored. Pixels of longitude grow by 1/cos of the latitude."""
        level, forward = _level(x, y, z)
        distance = torch.stack([level, y], dim=-1).norm(dim=-1)
        frames = tangent_frames(torch.stack([x, y, forward], dim=-1))
        rows = torch.stack(vectors, dim=-2)
        east, down = (frames @ rows)[..., :2, :].unbind(-2)
        return (lens.fx / level).unsqueeze(-1) * east, (lens.fy / distance).unsqueeze(-1) * down


def solid_angles(height: int) -> Float[Tensor, " H"]:
    """Return the solid angles of pixels in the rows of a panorama, as weights whose mean is 1."""
    borders = torch.linspace(-math.pi / 2, math.pi / 2, height + 1, dtype=torch.float64).sin()
    return (borders.diff() * height / 2).float()


def _level(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of points from the vertical axis, and z, both moved off the axis where they are on it."""
    least = POLE * y.abs() + torch.finfo(y.dtype).tiny ** 0.5
    z = torch.where((x.abs() < least) & (z.abs() < least), least, z)
    return torch.stack([x, z], dim=-1).norm(dim=-1), z


def tangent_frames(points: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Return orthonormal rows for points before a camera: east and down in the tangent plane, and the direction.

    East is that of x at the vertical axis, where there is none. Derivatives move the tangent plane without turning it
    in itself, so that they are finite there, too; what is computed in the plane must not depend on where its east is.
    """
    with torch.no_grad():
        direction = torch.nn.functional.normalize(points, dim=-1)
        x, _, z = direction.unbind(-1)
        level = torch.stack([x, z], dim=-1).norm(dim=-1)
        is_pole = level < POLE
        safe, none = torch.where(is_pole, 1.0, level), torch.zeros_like(x)
        east = torch.stack([torch.where(is_pole, 1.0, z / safe), none, torch.where(is_pole, 0.0, -x / safe)], dim=-1)
    direction = torch.nn.functional.normalize(points, dim=-1)
    east = torch.nn.functional.normalize(east - (east * direction).sum(-1, keepdim=True) * direction, dim=-1)
    return torch.stack([east, torch.linalg.cross(direction, east), direction], dim=-2)
