"""Statistics of a GMAE's Gaussians for the log."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render

NEAR_BOUND = 0.99
"""A scale above this share of its bound counts as clamped: the sigmoid that leads there has hardly a gradient left."""


def gaussian_measures(gaussians: Gaussians, camera: Camera, largest_scale: float) -> dict[str, Tensor]:
    """Means over a batch of Gaussians [B, K] that a camera sees; scalars.

    - `clamped_gaussians`: share with a scale at its bound.
    - `visible_gaussians`: effective number in an image, (Σw)² / Σw² where w is what a Gaussian adds to all pixels.
    - `mean_opacity`.
    """
    clamped = (gaussians.scales > NEAR_BOUND * largest_scale).any(dim=-1).float().mean()
    weights = pixel_weights(gaussians, camera)
    visible = weights.sum(-1).square() / weights.square().sum(-1).clamp(min=1e-12)
    return {
        "clamped_gaussians": clamped,
        "visible_gaussians": visible.mean(),
        "mean_opacity": gaussians.opacities.mean(),
    }


def pixel_weights(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "B K"]:
    """What each Gaussian adds to all pixels, Σ α·T: the gradient of a picture's sum by the Gaussian's colour."""
    ones = torch.ones_like(gaussians.fixed_colors()).requires_grad_()
    seen = replace(
        gaussians,
        **{name: getattr(gaussians, name).detach() for name in ("means", "scales", "quaternions", "opacities")},
        colors=ones,
    )
    with torch.enable_grad():
        picture = render(seen, camera, "black", depth=False, check=False).color
        (gradient,) = torch.autograd.grad(picture.sum(), ones)
    return gradient[..., 0]
