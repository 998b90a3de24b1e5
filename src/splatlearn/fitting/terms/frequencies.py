"""A term that compares what is coarse first, and details at the end: the frequency-modulated loss of GES."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.numbers import check_whole
from splatlearn.fitting.losses.specification import composed
from splatlearn.fitting.terms.term import Stateless, TermInputs
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering.compositing import background_colors

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey."""
REDUCED = 0.2
"""Sides of the picture whose frequencies are looked at, in those of the photograph."""
NARROWEST, WIDENED = 0.1, 0.1
"""Standard deviation of the narrower Gaussian, px of the reduced picture: at the ends of the schedule, and what each of
its hundred parts adds toward the middle."""


@dataclass(frozen=True, eq=False)
class FrequencyModulation(Stateless):
    """Mean absolute difference of colours in the part of the photograph that has the frequencies of the step.

    A band of frequencies is the difference of the grey photograph, at a fifth of its size, blurred by Gaussians of the
    standard deviations s and 2s. Over the first half of the steps s grows from 0.1 to 5.1 px, and pixels count where
    the band is in the lower half of its range; over the second half s falls again, and they count where it is in the
    upper half, which is where something bright stands out.

    - `steps`: of the schedule.

    Source: Hamdi et al. 2024 (GES), section 4.3, which masks by the photograph; its code does by the rendering. There
    the weights are 0.3 of the mean difference, 0.2 of 1 − SSIM and 0.5 of this: --ssim-weight 0.4 and --frequencies 1.
    """

    weight: Weight = field(default_factory=lambda: Weight(1.0))
    steps: int = 30_000
    name: str = "frequencies"
    needs_depth: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        """Return the mean over all pixels and channels."""
        color = inputs.rendering.color
        with torch.no_grad():
            behind = background_colors(inputs.background, color.new_empty(len(color), 1, 3))
            target = composed(inputs.targets, behind, color.dtype)
            counts = frequency_mask(target, min(1.0, inputs.number / self.steps)).to(color)
            if inputs.masks is not None:
                counts = counts * inputs.masks
        return ((color - target).abs() * counts.unsqueeze(1)).mean()


def frequency_mask(pictures: Float[Tensor, "V 3 H W"], done: float) -> Float[Tensor, "V H W"]:
    """Return 1 for the pixels that count after a share `done` of the steps, and 0 for the others."""
    part = 100.0 * done
    narrow = NARROWEST + WIDENED * (100.0 - part if part >= 50.0 else part)
    grey = (pictures * pictures.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    size = [max(1, round(REDUCED * side)) for side in grey.shape[-2:]]
    small = F.interpolate(grey, size, mode="bilinear", align_corners=False)
    band = F.interpolate(_blurred(small, narrow) - _blurred(small, 2.0 * narrow), grey.shape[-2:], mode="bilinear")
    low, high = band.amin((-2, -1), keepdim=True), band.amax((-2, -1), keepdim=True)
    share = (band - low) / (high - low).clamp_min(torch.finfo(band.dtype).eps)
    chosen = share >= 0.5 if part >= 50.0 else 1.0 - share >= 0.5
    return chosen.squeeze(1).to(pictures)


def _blurred(pictures: Float[Tensor, "V 1 h w"], deviation: float) -> Float[Tensor, "V 1 h w"]:
    """Pictures convolved with a Gaussian, the border repeated."""
    reach = round(3.0 * deviation)
    off = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (off / deviation).square())
    kernel = kernel / kernel.sum()
    padded = F.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
