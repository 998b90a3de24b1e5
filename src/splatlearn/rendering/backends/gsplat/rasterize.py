"""One call of gsplat's `rasterization` for views of sets of Gaussians."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering.backends.gsplat.support import MODELS
from splatlearn.rendering.formula import EPS2D
from splatlearn.rendering.leading import has_views
from splatlearn.rendering.view_colors import seen_by

CHANNELS = 32
"""Channels that gsplat blends at once: its default. Of more, it keeps the absolute gradients of the last ones."""
MODES = {"point": "classic", "mip": "antialiased"}
"""The names of filters there."""
FARTHEST = 1e10
"""The far plane for cameras without one: gsplat's default."""


class Pairs(NamedTuple):
    """The N pairs of a view and a Gaussian that it sees, ordered by view and then by Gaussian.

    `means2d` is on the way from parameters to pictures: the backward pass reaches it, and sets `absgrad` on
    request.
    """

    ids: Int[Tensor, " N"]
    view_ids: Int[Tensor, " N"]
    radii: Float[Tensor, " N"]
    means2d: Float[Tensor, "N 2"]
    intersections: int


def forward(
    gaussians: Gaussians,
    camera: Camera,
    background: Float[Tensor, "*S C"],
    depth: bool,
    absgrad: bool,
    filter: str = "point",
) -> tuple[Float[Tensor, "*S X H W"], Float[Tensor, "*S H W"], Pairs]:
    """Render sets [*B, K] by cameras of batch [], [*B] or [*B, V]; *S is *B, or [*B, V] for V views.

    Returns colours, with the weighted sum of depths as the last channel if `depth`; transmittances; and what each view
    sees. gsplat samples and blends as we do, but for α and the last splat of opaque pixels (see `compat/gsplat.py`).
    """
    means, batch = gaussians.means, gaussians.batch_shape
    several = has_views(gaussians, camera)

    def each_view(tensor: Tensor) -> Tensor:
        """[*B, V, …] of a tensor of the camera, V = 1 for one view of each set."""
        own = tensor.shape[len(camera.batch_shape) :]
        tensor = tensor.to(means)
        return tensor if several else tensor.expand(*batch, *own).unsqueeze(len(batch))

    viewmats, lenses = each_view(camera.viewmats), each_view(camera.K)
    if gaussians.sh is not None and not batch and not camera.projection.rays_are_parallel:
        seen: dict[str, Any] = {"colors": gaussians.sh, "sh_degree": gaussians.degree}
    else:
        # gsplat 1.6 has no harmonics for each set, and sees those of orthographic cameras from a centre.
        seen = {"colors": seen_by(gaussians, camera).fixed_colors()}
    tensors: dict[str, Tensor] = {
        "means": means,
        "quats": gaussians.quaternions,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "viewmats": viewmats,
        "Ks": lenses,
        "backgrounds": background if several else background.unsqueeze(-2),
        "colors": seen.pop("colors"),
    }
    with torch.autocast(means.device.type, enabled=False):
        color, alpha, meta = importlib.import_module("gsplat").rasterization(
            # gsplat flattens leading axes by `view`, which only contiguous tensors allow.
            **{name: each.contiguous() for name, each in tensors.items()},
            width=camera.width,
            height=camera.height,
            near_plane=float(camera.near),
            far_plane=min(float(camera.far), FARTHEST),
            eps2d=EPS2D,
            packed=True,
            render_mode="RGB+D" if depth else "RGB",
            rasterize_mode=MODES[filter],
            absgrad=absgrad,
            camera_model=MODELS[camera.model],
            **seen,
        )
    color, alpha = color.movedim(-1, -3), alpha.squeeze(-1)
    if not several:
        color, alpha = color.squeeze(len(batch)), alpha.squeeze(len(batch))
    return color, 1.0 - alpha, _pairs(meta, viewmats.shape[-3])


def _pairs(meta: dict[str, Any], views: int) -> Pairs:
    batch_ids, camera_ids, ids = (meta[name].long() for name in ("batch_ids", "camera_ids", "gaussian_ids"))
    radii = meta["radii"].float()
    radii = radii.amax(-1) if radii.ndim == 2 else radii
    return Pairs(ids, batch_ids * views + camera_ids, radii, meta["means2d"], int(meta["flatten_ids"].shape[0]))
