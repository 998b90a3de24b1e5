"""The photometric loss in PyTorch: the specification, with derivatives of every order.

Letters in shapes: B pictures, C channels, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
"""Taps, and pixels: the Gaussian window of SSIM."""
REACH = WINDOW // 2
C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM for values in [0, 1]."""


def composed(
    targets: Shaped[Tensor, "B C H W"], background: Float[Tensor, "B 3"], dtype: torch.dtype
) -> Float[Tensor, "B 3 H W"]:
    """Return targets as colours of a dtype: bytes over 255, and RGBA over the background of its picture."""
    values = targets.to(dtype)
    if targets.dtype == torch.uint8:
        values = values / 255
    if values.shape[1] == 3:
        return values
    behind, alpha = background.to(dtype)[:, :, None, None], values[:, 3:]
    return behind + alpha * (values[:, :3] - behind)


def photometric(
    images: Float[Tensor, "B 3 H W"],
    targets: Float[Tensor, "B 3 H W"],
    weights: Float[Tensor, "B H W"] | None,
    ssim_weight: float,
    border: int = 0,
) -> Float[Tensor, " B"]:
    """Return (1 − λ)·mean(w·|x − y|) + λ·mean(w·(1 − SSIM)) of each picture, λ being `ssim_weight`.

    The means are over all values, for SSIM over those at least `border` pixels from each side. Pixels of weight 0 count
    like those outside of the picture: 0 in both pictures of every window.
    """
    share = images.new_ones(images.shape[0], 1, *images.shape[2:]) if weights is None else weights.unsqueeze(1)
    # As a choice, because 0 times NaN is NaN.
    x, y = torch.where(share > 0, images, 0.0), torch.where(share > 0, targets, 0.0)
    lost = share * (1.0 - ssim_map(x, y))
    if border:
        lost = lost[..., border:-border, border:-border]
    absolute = (share * (x - y).abs()).mean(dim=(1, 2, 3))
    return (1.0 - ssim_weight) * absolute + ssim_weight * lost.mean(dim=(1, 2, 3))


def ssim_map(x: Float[Tensor, "B C H W"], y: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return the structural similarity at each pixel (Wang et al. 2004, equation 13), 0 being around the pictures."""
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x = blurred(x * x) - mean_x * mean_x
    variance_y = blurred(y * y) - mean_y * mean_y
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    return luminance * (2 * covariance + C2) / (variance_x + variance_y + C2)


def blurred(values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return the means of Gaussian windows, 0 being around the picture."""
    places = torch.arange(WINDOW, dtype=torch.float64) - REACH
    taps = (-places.square() / (2 * SIGMA**2)).exp()
    taps = (taps / taps.sum()).to(values)
    channels = values.shape[1]
    down = F.conv2d(values, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(REACH, 0), groups=channels)
    return F.conv2d(down, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, REACH), groups=channels)
