"""Residuals: how far single pixels of pictures are from those of photographs."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.fitting.losses.pictures import pictures_of
from splatlearn.fitting.losses.specification import composed
from splatlearn.rendering.compositing import Background


@torch.no_grad()
def residuals(
    images: Float[Tensor, "V 3 H W"],
    targets: Shaped[Tensor, "V C H W"],
    background: Background,
    masks: Float[Tensor, "V H W"] | None = None,
) -> Float[Tensor, "V H W"]:
    """Return the mean absolute difference of the colours of each pixel, whatever its weight in `masks`.

    The arguments are those of `photometric_loss`.
    """
    pictures = pictures_of(images.detach(), targets, background, masks)
    wanted = composed(pictures.targets, pictures.background, pictures.images.dtype)
    return (pictures.images - wanted).abs().mean(dim=1)
