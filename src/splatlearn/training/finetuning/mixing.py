"""Mixup, CutMix, random erasing and soft targets, with all chance in arguments.

Letters in shapes: B images, C channels, H W pixels, L classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

ERASED_SHARE = (0.02, 1 / 3)
"""Range of the area of an erased rectangle, as shares of the image (Zhong et al. 2020, with timm's upper end)."""
ERASED_ASPECT = (0.3, 1 / 0.3)
TRIES = 10

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed with itself in reverse order.

    - `share`: how much of an image's label it keeps; the rest is its partner's.
    - `box`: what CutMix takes from the partner; None for mixup, which blends all pixels.
    """

    share: float
    box: Box | None = None


def draw_mix(rng: np.random.Generator, mixup: float, cutmix: float, chance: float, height: int, width: int) -> Mix:
    """Draw how to mix a batch: not at all with probability 1 − `chance`, else by mixup or CutMix, each as often.

    `mixup`, `cutmix`: alpha of the symmetric Beta distribution of the share; 0 leaves the kind out. The box of CutMix
    has its centre anywhere, is clipped to the image, and the share is that of the pixels left. Sources: Zhang et al.
    2018 (mixup), Yun et al. 2019 (CutMix).
    """
    mixed, cut, place_x, place_y = rng.random(4)
    if mixed >= chance or mixup == cutmix == 0:
        return Mix(1.0)
    by_cut = cutmix > 0 and (mixup == 0 or cut < 0.5)
    alpha = cutmix if by_cut else mixup
    share = float(rng.beta(alpha, alpha))
    if not by_cut:
        return Mix(share)
    side = math.sqrt(1.0 - share)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    x, y = int(place_x * width), int(place_y * height)
    left, right = max(x - half_width, 0), min(x + half_width, width)
    top, bottom = max(y - half_height, 0), min(y + half_height, height)
    return Mix(1.0 - (right - left) * (bottom - top) / (height * width), (left, top, right, bottom))


def mix_images(images: Float[Tensor, "B C H W"], mix: Mix) -> Float[Tensor, "B C H W"]:
    """Mix each image with the one at the mirrored place of the batch."""
    if mix.box is None:
        return images if mix.share == 1.0 else images.lerp(images.flip(0), 1.0 - mix.share)
    left, top, right, bottom = mix.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
    return mixed


def soft_targets(labels: Int64[Tensor, " B"], classes: int, smoothing: float, share: float) -> Float[Tensor, "B L"]:
    """The classes' probabilities that a mixed batch is to be given; each row sums to 1.

    `smoothing` of every label is spread over all classes; `share` of it is the image's own, the rest its partner's.
    """
    hard = F.one_hot(labels, classes).float()
    return (1.0 - smoothing) * (share * hard + (1.0 - share) * hard.flip(0)) + smoothing / classes


def draw_box(rng: np.random.Generator, chance: float, height: int, width: int) -> Box:
    """Draw the rectangle of random erasing, empty with probability 1 − `chance` (Zhong et al. 2020)."""
    if rng.random() >= chance:
        return 0, 0, 0, 0
    for _ in range(TRIES):
        area = rng.uniform(*ERASED_SHARE) * height * width
        aspect = math.exp(rng.uniform(math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1])))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < rows < height and 0 < columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            return left, top, left + columns, top + rows
    return 0, 0, 0, 0


def erase(
    images: Float[Tensor, "B C H W"], boxes: Int64[Tensor, "B 4"], noise: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B C H W"]:
    """Replace each image's box (left, top, right, bottom in pixels) with noise."""
    left, top, right, bottom = boxes.t()[:, :, None]
    x = torch.arange(images.shape[3], device=images.device)
    y = torch.arange(images.shape[2], device=images.device)
    inside = ((x >= left) & (x < right))[:, None, :] & ((y >= top) & (y < bottom))[:, :, None]
    return torch.where(inside[:, None], noise, images)
