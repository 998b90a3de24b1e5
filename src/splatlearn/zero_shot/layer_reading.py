"""Layers: slabs of the depth order as transparent pictures (arXiv 2501.03229, section 4.3)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.fitting import PictureError, picture_error
from splatlearn.fitting.clamping import VISIBLE
from splatlearn.rendering.compositing import Background, background_colors
from splatlearn.zero_shot.reading import ImageGaussians, ReadOptions, gaussians_of
from splatlearn.zero_shot.slabs import Rule, cut_slabs, slab_of


def layers(
    model: Any,
    images: Float[Tensor, "B 3 H W"],
    count: int = 8,
    rule: Rule = "count",
    options: ReadOptions | None = None,
) -> Float[Tensor, "B count 4 H W"]:
    """The layers of images [B, 3, H, W] in [0, 1], as `layers_of` the Gaussians that a GMAE predicts; raises as it and
    `gaussians_of` do."""
    return layers_of(gaussians_of(model, images, options), count, rule)


@torch.no_grad()
def layers_of(read: ImageGaussians, count: int = 8, rule: Rule = "count") -> Float[Tensor, "B count 4 H W"]:
    """Cut the depth order into `count` slabs and render each: RGBA, near to far, alpha not multiplied into colours.

    - `rule`: `"count"` puts as many Gaussians into each slab; `"visible"` cuts at quantiles of the depth of what is
      seen, so that each slab paints as much of the picture; `"clusters"` groups depths by k-means.

    `composite_layers` gives the full rendering back, up to the renderer's rule that nothing behind a transmittance of
    1e-4 is looked at, and up to rounding. Raises InputError for an unknown rule and a count outside 1 … K.
    """
    slabs = cut_slabs(read.splats, slab_of(read.splats, count, rule, read.size), count, read.size)
    alpha = (1.0 - slabs.transmittance).unsqueeze(2)
    color = torch.where(alpha > 0, slabs.color / alpha.clamp_min(torch.finfo(alpha.dtype).tiny), 0.0)
    return torch.cat([color, alpha], dim=2)


@torch.no_grad()
def layers_error(read: ImageGaussians, layers: Float[Tensor, "B L 4 H W"]) -> list[PictureError]:
    """Measure for each image what its layers lose as pictures of 8 bits, which hold no colours outside of [0, 1].

    They are put back over one another and over the background of `read`, and compared with its rendering.
    """
    behind = background_colors(read.background, read.gaussians.fixed_colors())
    errors = []
    for own, color, picture in zip(layers, behind, read.rendering.color, strict=True):
        stored = (own.clamp(0.0, 1.0) * 255).round() / 255
        errors.append(picture_error(composite_layers(stored.unsqueeze(0), color)[0], picture))
    return errors


def are_clamped(layers: Float[Tensor, "*B 4 H W"]) -> bool:
    """Return whether 8 bits lose anything that is seen of the colours of layers, because they leave [0, 1]."""
    color, alpha = layers.split([3, 1], dim=-3)
    return float(((color - color.clamp(0.0, 1.0)).abs() * alpha).max()) >= VISIBLE


def composite_layers(layers: Float[Tensor, "B L 4 H W"], background: Background = "white") -> Float[Tensor, "B 3 H W"]:
    """Put RGBA layers, near to far, back over one another and over a background."""
    picture = background_colors(background, layers.new_zeros(layers.shape[0], 1, 3))[:, :, None, None]
    picture = picture.expand(-1, -1, *layers.shape[-2:])
    for layer in layers.flip(1).unbind(1):
        color, alpha = layer.split([3, 1], dim=1)
        picture = color * alpha + picture * (1.0 - alpha)
    return picture
