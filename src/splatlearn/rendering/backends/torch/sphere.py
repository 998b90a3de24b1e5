"""The specification for cameras that show all directions: Gaussians in the tangent planes of their own directions.

`project` places and sorts them, `blend` evaluates them at the directions of pixels; what is between α and colours is
`blend.composite_alpha`, as for every other camera. Derivatives are autograd's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid, tangent_frames
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering.backends.torch.bin import sort_near_to_far
from splatlearn.rendering.backends.torch.blend import composite_alpha
from splatlearn.rendering.backends.torch.pieces import chunks_of_pixels
from splatlearn.rendering.backends.torch.primitives.primitive import Placed
from splatlearn.rendering.backends.torch.primitives.registry import formula, formula_of, primitive_of
from splatlearn.rendering.backends.torch.project import Projected
from splatlearn.rendering.formula import FACING
from splatlearn.rendering.splats import Splats


class OnSphere(NamedTuple):
    """Splats of B pictures on a sphere, near to far.

    - `splats`: `means2d` are the pixels of the centres, and conics those of tangent planes, px⁻².
    - `frames` [B, K, 3, 3]: rows east, down and the direction of the centre.
    """

    splats: Splats
    frames: Float[Tensor, "B K 3 3"]


def focal(camera: Camera) -> float:
    """Return pixels per radian: those of a tangent plane at its centre."""
    return math.sqrt(float(camera.fx) * float(camera.fy))


def project(gaussians: Gaussians, view: Float[Tensor, "*B 4 4"], camera: Camera, filter: str = "point") -> OnSphere:
    """Place Gaussians [B, K] on the sphere around a camera; those not between `near` and `far` get opacity 0.

    - `view`: matrices from world to camera, for all sets or one for each; `camera`: its other numbers are used.
    - `filter`: what a pixel integrates; their primitive must know it.

    Raises InputError for a primitive that has no picture in tangent planes.
    """
    primitive = primitive_of(gaussians.primitive, filter)
    if not primitive.draws_panoramas:
        raise InputError(f"camera: expected one without a panorama's model for {formula_of(primitive)!r}")
    turn, shift = view[..., :3, :3], view[..., :3, 3]
    points = gaussians.means @ turn.mT + shift.unsqueeze(-2)
    depths = points.norm(dim=-1)
    drawn = (depths >= camera.near) & (depths <= camera.far)
    ahead = torch.tensor((0.0, 0.0, camera.near)).to(points)
    points = torch.where(drawn.unsqueeze(-1), points, ahead)
    frames = tangent_frames(points)
    axes = turn.unsqueeze(-3) @ quaternions_to_matrices(gaussians.quaternions) * gaussians.scales.unsqueeze(-2)
    rows = (frames @ axes) * (focal(camera) / points.norm(dim=-1))[..., None, None]
    on_plane = rows[..., 0, :], rows[..., 1, :]
    x, y, z = points.unbind(-1)
    packed, opacities = primitive.pack(
        Placed((x, y, z), axes, on_plane, gaussians.opacities, gaussians.shapes, filter, None, None)
    )
    splats = Splats(
        means2d=torch.stack(camera.projection.project(x, y, z, camera.lens(z)), dim=-1),
        conics=packed[..., :3],
        depths=depths,
        colors=gaussians.fixed_colors(),
        opacities=torch.where(drawn, opacities, 0.0),
        shapes=packed[..., 3:] if packed.shape[-1] > 3 else None,
        primitive=formula_of(primitive),
    )
    places = torch.arange(gaussians.count, device=depths.device).expand(depths.shape)
    ordered = sort_near_to_far(Projected(splats, places))
    order = ordered.ids[..., None, None].expand(frames.shape)
    return OnSphere(ordered.splats, frames.gather(1, order))


def rays(pixels: Float[Tensor, "P 2"], camera: Camera) -> Float[Tensor, "P 3"]:
    """Return the unit directions before a camera that pixel centres (x, y) show."""
    u, v = pixels.unbind(-1)
    return torch.stack(camera.projection.unproject(u, v, torch.ones_like(u), camera.lens(u)), dim=-1)


def blend(
    placed: OnSphere, camera: Camera, background: Float[Tensor, "B C"], grid: PixelGrid = WHOLE_PICTURE
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Return colours and transmittances of the pixels of a grid."""
    splats, size = placed.splats, grid.size(camera.height, camera.width)
    drawn, packed = formula(splats.primitive), splats.packed
    parts = []
    for pixels in chunks_of_pixels(splats.means2d, size, grid):
        right, down, ahead = rays(pixels, camera).unbind(-1)
        # Not a matrix product: a pixel's last bit would depend on the pixels beside it.
        across, along, facing = (
            row[..., 0:1] * right + row[..., 1:2] * down + row[..., 2:3] * ahead for row in placed.frames.unbind(-2)
        )
        faces = facing > FACING
        scale = focal(camera) / torch.where(faces, facing, 1.0)
        at = drawn.alpha_off(across * scale, along * scale, packed, splats.opacities)
        parts.append(composite_alpha(at, splats.colors, background, faces))
    color, transmittance = (torch.cat(each, dim=-1) for each in zip(*parts, strict=True))
    return color.unflatten(-1, size), transmittance.unflatten(-1, size)
