"""What clamped colours cost: files and viewers show only colours within bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.device import in_float64
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

VISIBLE = 0.5 / 255
"""Differences below half a step of 8 bits are not seen."""


@dataclass(frozen=True)
class PictureError:
    """How far pictures in [0, 1] are from others.

    - `largest`: the largest difference of a pixel in one channel.
    - `psnr`: peak signal-to-noise ratio in dB; infinite where there is no difference.
    """

    largest: float
    psnr: float

    @property
    def is_visible(self) -> bool:
        """Whether any pixel differs by at least half a step of 8 bits."""
        return self.largest >= VISIBLE

    def __str__(self) -> str:
        return f"up to {self.largest:.3f} (PSNR {self.psnr:.1f} dB)"


def picture_error(pictures: Float[Tensor, "*B C H W"], originals: Float[Tensor, "*B C H W"]) -> PictureError:
    """Compare pictures with others as screens show them, clamped to [0, 1]; over all pixels of a batch."""
    difference = in_float64(pictures.detach()).clamp(0.0, 1.0) - in_float64(originals.detach()).clamp(0.0, 1.0)
    mean = float(difference.square().mean())
    return PictureError(float(difference.abs().max()), -10.0 * math.log10(mean) if mean > 0 else math.inf)


@torch.no_grad()
def clamping_error(
    gaussians: Gaussians,
    camera: Camera,
    background: Background = "white",
    bounds: tuple[float, float] = (0.0, math.inf),
) -> PictureError:
    """Measure what it costs to clamp the colours of Gaussians.

    - `gaussians`: with `colors`; `camera`, `background`: as for `splatlearn.rendering`.
    - `bounds`: the smallest and the largest colour that is shown. Viewers of splats show none below 0 (Kerbl et al.
      2023), those that keep colours in bytes none above 1 either.

    Returns the error of the rendering with clamped colours against the rendering with the Gaussians' own. Raises
    InputError for Gaussians with `sh`.
    """
    clamped = replace(gaussians, colors=gaussians.fixed_colors().clamp(*bounds))
    return picture_error(render(clamped, camera, background).color, render(gaussians, camera, background).color)
