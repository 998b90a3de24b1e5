"""The one normalisation of attributes: from activated numbers to what encoders see and decoders predict, and back.

It is a part of the model, so that pre-training, fine-tuning and probes cannot differ in it. Letters in shapes: B sets,
N Gaussians.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES, upper_quaternions
from splatlearn.models.splats.options import ScaleNumbers

SMALLEST_SCALE = 1e-4
"""Scales below it, in radii of the set, count as it."""
LOG_MEAN, LOG_DEVIATION = math.log(0.03), 1.0
"""A typical logarithm of a scale of a placed set of a thousand Gaussians, and its spread."""


def normalise(sets: Float[Tensor, "B N 14"], scale_numbers: ScaleNumbers) -> Float[Tensor, "B N 14"]:
    """The numbers of activated attributes.

    Means stay. Opacities and colours in [0, 1] go to [−1, 1], colours clamped and times 1/√3 so that their norm is at
    most 1, as ShapeSplat's loaders have them. Quaternions are unit with w ≥ 0. Scales: see `SplatEncoderConfig`.
    """
    parts = {name: sets[..., place] for name, place in ATTRIBUTES.items()}
    scales = parts["scales"]
    if scale_numbers == "log":
        scales = (scales.clamp_min(SMALLEST_SCALE).log() - LOG_MEAN) / LOG_DEVIATION
    else:
        scales = scales - scales.mean(dim=1, keepdim=True)
        scales = scales / scales.norm(dim=-1, keepdim=True).amax(dim=1, keepdim=True).clamp_min(1e-8)
    parts["scales"] = scales
    parts["opacities"] = 2.0 * parts["opacities"] - 1.0
    parts["quaternions"] = upper_quaternions(parts["quaternions"])
    parts["colors"] = (parts["colors"] - 0.5).clamp(-0.5, 0.5) * (2.0 / math.sqrt(3.0))
    return torch.cat([parts[name] for name in ATTRIBUTES], dim=-1)


def activated(numbers: Float[Tensor, "*B 14"]) -> Float[Tensor, "*B 14"]:
    """The attributes of numbers with `"log"` scales: the inverse of `normalise` but for what it clamps."""
    parts = {name: numbers[..., place] for name, place in ATTRIBUTES.items()}
    parts["scales"] = (parts["scales"] * LOG_DEVIATION + LOG_MEAN).clamp(math.log(SMALLEST_SCALE), 0.0).exp()
    parts["opacities"] = ((parts["opacities"] + 1.0) / 2.0).clamp(0.0, 1.0)
    parts["quaternions"] = upper_quaternions(parts["quaternions"])
    parts["colors"] = parts["colors"] * (math.sqrt(3.0) / 2.0) + 0.5
    return torch.cat([parts[name] for name in ATTRIBUTES], dim=-1)
