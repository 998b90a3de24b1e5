"""RandAugment of a batch on its device, each image by operations of its own; kornia does the pixels.

The operations and their ranges are those of the official MAE recipe (`rand-m9-mstd0.5-inc1`): Cubuk et al. 2020, with
levels that vary a little and effects that grow with them. Letters in shapes: B images, R operations, H W pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from splatlearn.core.errors import InputError

LEVELS = 10.0
LEVEL_DEVIATION = 0.5
APPLIED = 0.5
"""Chance that a drawn operation is applied."""
NONE = -1
"""The operation that changes nothing."""
LIMITS = {"rotate": 30.0, "shear": 0.3, "translate": 0.45, "enhance": 0.9, "solarize_add": 110 / 255}
"""Effects at strength 1: degrees, slope, share of the side, change of a factor, added brightness."""


def check_kornia() -> None:
    """Raise InputError saying how to get kornia where it is not installed."""
    if importlib.util.find_spec("kornia") is None:
        raise InputError(
            "rand_augment: RandAugment needs kornia, which is not installed; pip install 'splatlearn[finetune]', or "
            "fine-tune without it: --rand-augment 0"
        )


@dataclass(frozen=True)
class Draws:
    """What RandAugment does to one image: places in `OPERATIONS` (−1 for none), and strengths in [−1, 1]."""

    operations: Int64[np.ndarray, " R"]
    strengths: Float32[np.ndarray, " R"]


def draw_operations(rng: np.random.Generator, magnitude: float, count: int) -> Draws:
    """Draw `count` operations for an image, with replacement, each left out with chance a half.

    The level of each is normal about `magnitude` with deviation 0.5, within [0, 10]; its direction is a coin's.
    """
    operations = rng.integers(len(OPERATIONS), size=count)
    operations[rng.random(count) >= APPLIED] = NONE
    levels = np.clip(rng.normal(magnitude, LEVEL_DEVIATION, count), 0.0, LEVELS)
    signs = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    return Draws(operations, (signs * levels / LEVELS).astype(np.float32))


@torch.no_grad()
def rand_augment(
    images: Float[Tensor, "B 3 H W"],
    operations: Int64[Tensor, "B R"],
    strengths: Float[Tensor, "B R"],
    fill: tuple[float, ...],
) -> Float[Tensor, "B 3 H W"]:
    """Apply each image's operations, one after the other, to images in [0, 1].

    - `operations`: places in `OPERATIONS`, −1 for none; on the CPU, where images are grouped by them.
    - `strengths` in [−1, 1]: shares of an operation's range, with a direction where it has one.
    - `fill`: the colour that comes in from beyond the edges.
    """
    images = images.clone()
    colour = images.new_tensor(fill)[:, None, None]
    for turn in range(operations.shape[1]):
        for place in operations[:, turn].unique().tolist():
            if place == NONE:
                continue
            chosen = (operations[:, turn] == place).nonzero().squeeze(1)
            strength = strengths[chosen.to(strengths.device), turn].to(images.device)
            chosen = chosen.to(images.device)
            name = OPERATIONS[place]
            if name in MOVES:
                # Zeros come in from beyond the edges: that is the fill once it has been taken off.
                changed = MOVES[name](images[chosen] - colour, strength) + colour
            else:
                changed = PIXELS[name](images[chosen], strength)
            images[chosen] = changed.clamp(0.0, 1.0)
    return images


def _auto_contrast(images: Tensor, strength: Tensor) -> Tensor:
    # A channel of one value has no contrast to stretch.
    flat = images.amax((2, 3), keepdim=True) <= images.amin((2, 3), keepdim=True)
    return torch.where(flat, images, _enhance().normalize_min_max(images))


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    # No bits at all would leave a black image.
    return _enhance().posterize(images, (4 - (4 * strength.abs()).int()).clamp(min=1))


def _solarize_add(images: Tensor, strength: Tensor) -> Tensor:
    added = images + LIMITS["solarize_add"] * strength.abs()[:, None, None, None]
    return torch.where(images < 128 / 255, added, images)


def _factor(strength: Tensor) -> Tensor:
    return 1.0 + LIMITS["enhance"] * strength


def _along(axis: int, distance: Tensor) -> Tensor:
    other = torch.zeros_like(distance)
    return torch.stack([distance, other] if axis == 0 else [other, distance], dim=1)


def _enhance() -> ModuleType:
    # Imported late: kornia takes seconds, and who fine-tunes without RandAugment need not have it.
    from kornia import enhance

    return enhance


def _move() -> ModuleType:
    from kornia.geometry import transform

    return transform


Operation = Callable[[Tensor, Tensor], Tensor]
"""From images [B, 3, H, W] and signed strengths [B] to changed images, which may leave [0, 1]."""

PIXELS: dict[str, Operation] = {
    "auto_contrast": _auto_contrast,
    "equalize": lambda images, strength: _enhance().equalize(images),
    "invert": lambda images, strength: _enhance().invert(images),
    "posterize": _posterize,
    "solarize": lambda images, strength: _enhance().solarize(images, 1.0 - strength.abs()),
    "solarize_add": _solarize_add,
    "color": lambda images, strength: _enhance().adjust_saturation_with_gray_subtraction(images, _factor(strength)),
    "contrast": lambda images, strength: _enhance().adjust_contrast_with_mean_subtraction(images, _factor(strength)),
    "brightness": lambda images, strength: _enhance().adjust_brightness_accumulative(images, _factor(strength)),
    "sharpness": lambda images, strength: _enhance().sharpness(images, _factor(strength)),
}
"""Operations on colours."""

MOVES: dict[str, Operation] = {
    "rotate": lambda images, strength: _move().rotate(images, LIMITS["rotate"] * strength, mode="bicubic"),
    "shear_x": lambda images, strength: _move().shear(images, _along(0, LIMITS["shear"] * strength), mode="bicubic"),
    "shear_y": lambda images, strength: _move().shear(images, _along(1, LIMITS["shear"] * strength), mode="bicubic"),
    "translate_x": lambda images, strength: _move().translate(
        images, _along(0, LIMITS["translate"] * images.shape[3] * strength), mode="bicubic"
    ),
    "translate_y": lambda images, strength: _move().translate(
        images, _along(1, LIMITS["translate"] * images.shape[2] * strength), mode="bicubic"
    ),
}
"""Operations on places, which let zeros in from beyond the edges."""

OPERATIONS = (*PIXELS, *MOVES)
