"""Where a picture has contrast at all: without any, what Gaussians differ in says nothing about the picture."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.zero_shot.gradients import gaussian_blur

NONE, FULL = 6 / 255, 12 / 255
"""Range of a channel, after smoothing, that counts as no contrast, and the one from which contrast is full."""
SIGMA = 2.0
"""Smoothing before, pixels: it takes noise of three grey levels below NONE."""
TAILS = 0.005
"""Share of the darkest and of the brightest pixels that say nothing of a whole picture, because noise has them too."""
REACH = 1 / 16
"""Share of the shorter side that Gaussians may lie beside what they paint."""
BLOCKS = 4
"""Blocks of pixels along that reach, of which each has one range."""


def contrast_near(pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """How much contrast pictures in [0, 1] have around each pixel: 0 for none, 1 from twelve grey levels on."""
    height, width = pictures.shape[-2:]
    side = max(1, round(REACH * min(height, width) / BLOCKS))
    smooth = gaussian_blur(pictures, SIGMA)
    spare = (0, -width % side, 0, -height % side)
    smooth = F.pad(smooth, spare, mode="replicate")
    high, low = (
        F.max_pool2d(F.max_pool2d(sign * smooth, side), 2 * BLOCKS + 1, stride=1, padding=BLOCKS) for sign in (1, -1)
    )
    weight = _weight((high + low).amax(dim=1))
    return weight.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)[:, :height, :width]


def contrast_of(pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """How much contrast pictures in [0, 1] have anywhere or as a whole, on the same scale."""
    smooth = gaussian_blur(pictures, SIGMA).flatten(2)
    tail = int(TAILS * smooth.shape[2])
    # torch.quantile takes no more than 2^24 numbers.
    ranked = smooth.sort(dim=2).values
    whole = _weight((ranked[..., -1 - tail] - ranked[..., tail]).amax(dim=1))
    return whole.maximum(contrast_near(pictures).amax(dim=(1, 2)))


def _weight(spread: Tensor) -> Tensor:
    return ((spread - NONE) / (FULL - NONE)).clamp(0.0, 1.0)
