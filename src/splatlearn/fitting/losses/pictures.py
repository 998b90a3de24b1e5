"""The arguments that the losses and metrics of pictures have in common, checked."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.core.checks import check_floating, check_same_device, check_shape, sees_values
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.rendering.compositing import Background, background_colors
from splatlearn.rendering.splats import working_dtype


class Pictures(NamedTuple):
    """Pictures and what they are compared with, in one dtype but for targets.

    - `images` [B, 3, H, W]; `targets` [B, 3 or 4, H, W] in any memory layout, uint8 or of that dtype.
    - `background` [B, 3]; `weights` [B, H, W] or None.
    """

    images: Float[Tensor, "B 3 H W"]
    targets: Shaped[Tensor, "B C H W"]
    background: Float[Tensor, "B 3"]
    weights: Float[Tensor, "B H W"] | None


def pictures_of(
    images: Float[Tensor, "B 3 H W"],
    targets: Shaped[Tensor, "B C H W"],
    background: Background,
    weights: Float[Tensor, "B H W"] | None,
) -> Pictures:
    """Check the arguments of `photometric_loss`, which names their shapes and what raises."""
    check_floating("images", images)
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"images: expected shape [B, 3, H, W] with at least one pixel, got {list(images.shape)}")
    batch, _, height, width = images.shape
    _check_targets(targets, images)
    dtype = working_dtype(images.dtype)
    colors = background_colors(background, images.to(dtype).flatten(2).mT)
    if weights is not None:
        check_floating("weights", weights)
        check_shape("weights", weights, (batch, height, width))
        check_same_device("images", images, weights=weights)
        if sees_values(weights) and not bool((weights.detach().isfinite() & (weights.detach() >= 0)).all()):
            raise InputError("weights: expected finite numbers of at least 0, got others; a mask needs .float()")
        weights = weights.to(dtype)
    return Pictures(images.to(dtype), targets if targets.dtype == torch.uint8 else targets.to(dtype), colors, weights)


def _check_targets(targets: Tensor, images: Tensor) -> None:
    check_kind("targets", targets, Tensor)
    batch, _, height, width = images.shape
    if targets.dtype != torch.uint8 and not targets.is_floating_point():
        raise TypeError(f"targets: expected uint8 or a floating-point tensor, got {targets.dtype}")
    if tuple(targets.shape) not in ((batch, 3, height, width), (batch, 4, height, width)):
        last = targets.ndim == 4 and targets.shape[-1] in (3, 4)
        advice = "; move the channels with .permute(0, 3, 1, 2), which copies nothing" if last else ""
        raise InputError(
            f"targets: expected shape [{batch}, 3 or 4, {height}, {width}] like images, "
            f"got {list(targets.shape)}{advice}"
        )
    check_same_device("images", images, targets=targets)
