"""Moments of inverse depth along rays, from one more rendering."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import SURFEL, Gaussians
from splatlearn.rendering import render


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums along the rays of pixels [V, H, W] over Gaussians of blending weights w = T·α and inverse depths m = 1 / z.

    - `alpha`: Σ w; `first`: Σ w·m; `second`: Σ w·m².
    """

    alpha: Float[Tensor, "V H W"]
    first: Float[Tensor, "V H W"]
    second: Float[Tensor, "V H W"]

    @property
    def mean(self) -> Float[Tensor, "V H W"]:
        """Mean inverse depth of the Gaussians that cover a pixel, by weight; 0 where none does."""
        return self.first / self.alpha.clamp_min(1e-6)

    @property
    def distortion(self) -> Float[Tensor, "V H W"]:
        """Σᵢ Σⱼ wᵢ·wⱼ·(mᵢ − mⱼ)² / 2 = Σ w · Σ w·m² − (Σ w·m)²: the spread of the weights along the ray.

        Source: Huang et al. 2024 (2D Gaussian Splatting), equation 13 and its sums in appendix A; Barron et al. 2022
        (Mip-NeRF 360) have |mᵢ − mⱼ|.
        """
        return (self.alpha * self.second - self.first.square()).clamp_min(0.0)


def depth_moments(gaussians: Gaussians, cameras: Camera, backend: str = "auto", filter: str = "point") -> Moments:
    """Render the moments for cameras [V], with gradients to all parameters but colours.

    - `backend`, `filter`: see `render`; the filter is that of the pictures.

    Inverse depths are those of means, or of surfels those at which rays meet them, as `Rendering.depth` has depths: of
    panoramas, distances. Means at or
    behind a camera's near plane are not drawn; their inverse depths are cut there.
    """
    views = range(cameras.batch_shape[0])
    shown = [_one(gaussians, cameras[view : view + 1], backend, filter) for view in views]
    alpha, first, second = (torch.cat(parts) for parts in zip(*shown, strict=True))
    return Moments(alpha, first, second)


def _one(gaussians: Gaussians, camera: Camera, backend: str, filter: str) -> tuple[Tensor, Tensor, Tensor]:
    """Alpha and both sums of one view: inverse depths are the Gaussians' colours, so that each view has its own."""
    view = camera.viewmats[0].to(gaussians.means)
    x, y, z = (gaussians.means @ view[:3, :3].T + view[:3, 3]).unbind(-1)
    inverse = 1.0 / camera.projection.depth(x, y, z).clamp_min(camera.near)
    if gaussians.primitive == SURFEL:
        # Depths are those at which rays meet the discs.
        plain = replace(gaussians, sh=None, colors=gaussians.opacities.detach()[:, None])
        shown = render(plain, camera, (0.0,), backend, "moments", check=False, filter=filter)
        assert shown.moments is not None
        return shown.alpha, shown.moments[:, 0], shown.moments[:, 1]
    flat = replace(gaussians, sh=None, colors=torch.stack([inverse, inverse.square()], dim=-1))
    rendering = render(flat, camera, (0.0, 0.0), backend, depth=False, check=False, filter=filter)
    return rendering.alpha, rendering.color[:, 0], rendering.color[:, 1]
