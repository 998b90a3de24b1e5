"""Normals of Gaussians and of depth maps, and a term that lays surfels into the surface that their depths make."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import SURFEL, Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.fitting.terms.term import Stateless, TermInputs
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering import render

COVERED = 0.5
"""Alpha of a pixel and its neighbours from which their depths make a surface."""


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


def surface_normals(depth: Float[Tensor, "H W"], camera: Camera) -> Float[Tensor, "3 H W"]:
    """Return the normals of a depth map in the space of its pinhole camera, of length 1 and toward it.

    They are the cross products of differences across two pixels, and 0 at the rim.
    """
    height, width = depth.shape
    rows, columns = (torch.arange(count, dtype=depth.dtype, device=depth.device) + 0.5 for count in (height, width))
    x, y = ((columns - camera.cx) / camera.fx).expand(height, width), ((rows - camera.cy) / camera.fy)[:, None]
    points = torch.stack([x * depth, y * depth, depth])
    down, across = points[:, 2:, 1:-1] - points[:, :-2, 1:-1], points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    # With y down and z ahead, this order points toward the camera.
    inner = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=0), dim=0)
    return torch.nn.functional.pad(inner, (1, 1, 1, 1))


@dataclass(frozen=True, eq=False)
class NormalConsistency(Stateless):
    """Mean over pixels of Σ w·(1 − n·N), for the normals n of surfels with blending weights w, and N of their depths.

    The depth is the inverse of the mean inverse depth. Pixels count where they and their neighbours are covered by more
    than a half.

    Source: Huang et al. 2024 (2D Gaussian Splatting), equation 14.
    """

    weight: Weight = field(default_factory=lambda: Weight(0.05))
    name: str = "normals"
    needs_depth: bool = field(default=False, init=False)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        """Return the mean over pixels and views."""
        views = range(inputs.cameras.batch_shape[0])
        each = [self._of_view(inputs.gaussians, inputs.cameras[view], inputs.backend) for view in views]
        return torch.stack(each).mean()

    def _of_view(self, gaussians: Gaussians, camera: Camera, backend: str) -> Float[Tensor, ""]:
        normals = facing_normals(gaussians, camera)
        shown = render(
            replace(gaussians, sh=None, colors=normals), camera, (0.0, 0.0, 0.0), backend, "moments", check=False
        )
        assert shown.moments is not None
        alpha = shown.alpha.detach()
        covered = -torch.nn.functional.max_pool2d(-alpha[None, None], 3, stride=1, padding=1)[0, 0] > COVERED
        inverse = shown.moments[0] / shown.alpha.clamp_min(1e-6)
        depth = 1.0 / torch.where(covered, inverse, 1.0)
        apart = alpha - (shown.color * surface_normals(depth, camera)).sum(0)
        return torch.where(covered, apart, 0.0)[1:-1, 1:-1].mean()
