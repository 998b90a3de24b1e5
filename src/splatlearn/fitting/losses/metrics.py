"""How close pictures are to others: SSIM and PSNR, each picture by itself."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.fitting.losses.photometric import losses
from splatlearn.fitting.losses.pictures import pictures_of
from splatlearn.fitting.losses.specification import REACH, WINDOW, composed
from splatlearn.rendering.compositing import Background

Padding = Literal["zeros", "none"]
"""`"zeros"`: windows at the border reach into zeros, as in 3DGS; `"none"`: whole windows alone, as in scikit-image."""


def ssim(
    images: Float[Tensor, "B 3 H W"],
    targets: Shaped[Tensor, "B C H W"],
    background: Background = "black",
    weights: Float[Tensor, "B H W"] | None = None,
    padding: Padding = "zeros",
) -> Float[Tensor, " B"]:
    """Structural similarity of each picture: the mean of SSIM over pixels and channels, with gradients to `images`.

    - `images`, `targets`, `background`, `weights`: as in `photometric_loss`; the mean is weighted.
    - `padding`: what windows at the border see. "zeros" is what 3D Gaussian Splatting and its successors publish.
      "none" is the mean over windows that lie in the picture, as scikit-image's `structural_similarity` with
      `gaussian_weights=True`, `sigma=1.5` and `use_sample_covariance=False` computes it.

    Raises InputError for what `photometric_loss` raises it for, for an unknown padding, pictures that no whole window
    fits into, and a picture without weight.
    """
    if padding not in get_args(Padding):
        raise InputError(f"padding: expected one of {', '.join(map(repr, get_args(Padding)))}, got {padding!r}")
    pictures = pictures_of(images, targets, background, weights)
    border = REACH if padding == "none" else 0
    height, width = images.shape[-2:]
    if border and min(height, width) < WINDOW:
        raise InputError(
            f"images: expected at least {WINDOW} pixels along each side for padding='none', got {height} × {width}; "
            "use padding='zeros'"
        )
    lost = losses(pictures, 1.0, border)
    if pictures.weights is None:
        return 1.0 - lost
    return 1.0 - lost / _mean_weight(pictures.weights[:, border : height - border, border : width - border])


def psnr(
    images: Float[Tensor, "B 3 H W"],
    targets: Shaped[Tensor, "B C H W"],
    background: Background = "black",
    weights: Float[Tensor, "B H W"] | None = None,
) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio of each picture in dB: −10 log₁₀ of the weighted mean squared error, for a peak of 1.

    - `images`, `targets`, `background`, `weights`: as in `photometric_loss`. Values outside of [0, 1] are not clipped.

    Equal pictures give infinity. Raises InputError for what `photometric_loss` raises it for, and a picture without
    weight.
    """
    values, goals, behind, weights = pictures_of(images, targets, background, weights)
    squared = (values - composed(goals, behind, values.dtype)).square().mean(dim=1)
    if weights is None:
        return -10.0 * squared.mean(dim=(1, 2)).log10()
    counted = torch.where(weights > 0, squared, 0.0) * weights
    return -10.0 * (counted.mean(dim=(1, 2)) / _mean_weight(weights)).log10()


def _mean_weight(weights: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    means = weights.mean(dim=(1, 2))
    if not bool((means > 0).all()):
        raise InputError("weights: expected a weight above 0 in each picture, got a picture without one")
    return means
