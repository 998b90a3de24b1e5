"""Terms that need only the rendering: smooth inverse depths, thin surfaces, decided opacities."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.fitting.losses.specification import composed
from splatlearn.fitting.terms.term import Stateless, TermInputs
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering.compositing import background_colors

EDGE = 10.0
"""Factor of a colour difference in the exponent of the edge weight e^(−EDGE·|ΔI|); Godard et al. 2017 have 1."""


@dataclass(frozen=True, eq=False)
class SmoothDepth(Stateless):
    """Total variation of inverse depth, weakened across edges of the photograph, times the extent.

    Inverse depth of a flat surface of any slant is linear over a picture; depth itself is not.

    Source: Godard et al. 2017 (Monodepth), the edge-aware smoothness of disparity.
    """

    weight: Weight = field(default_factory=lambda: Weight(0.01))
    name: str = "smooth_depth"
    needs_depth: bool = field(default=False, init=False)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        """Return the mean over neighbouring pixels of e^(−10·|ΔI|)·|Δ(1/z)|·α·α'."""
        moments = inputs.moments
        inverse, alpha = moments.mean * inputs.extent, moments.alpha.detach()
        with torch.no_grad():
            picture = inputs.rendering.color.detach()
            behind = background_colors(inputs.background, picture.new_empty(len(picture), 1, 3))
            target = composed(inputs.targets, behind, picture.dtype)
        parts: list[Tensor] = []
        for axis in (-1, -2):
            steps = inverse.diff(dim=axis).abs()
            edges = target.diff(dim=axis).abs().mean(dim=1)
            count = alpha.shape[axis] - 1
            covered = alpha.narrow(axis, 0, count) * alpha.narrow(axis, 1, count)
            parts.append((steps * covered * (-EDGE * edges).exp()).mean())
        return torch.stack(parts).sum()


@dataclass(frozen=True, eq=False)
class Distortion(Stateless):
    """Mean spread of blending weights along rays, in inverse depths times the extent; see `Moments.distortion`.

    Source: Huang et al. 2024 (2D Gaussian Splatting), equation 13, after Barron et al. 2022 (Mip-NeRF 360).
    """

    weight: Weight = field(default_factory=lambda: Weight(0.1))
    name: str = "distortion"
    needs_depth: bool = field(default=False, init=False)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        """Return the mean over pixels."""
        return inputs.moments.distortion.mean() * inputs.extent**2


@dataclass(frozen=True, eq=False)
class OpacityEntropy(Stateless):
    """Mean binary entropy of opacities, which is 0 where each is 0 or 1 and log 2 where all are a half.

    Source: Guédon and Lepetit 2024 (SuGaR), the entropy of opacities.
    """

    weight: Weight = field(default_factory=lambda: Weight(0.01))
    name: str = "entropy"
    needs_depth: bool = field(default=False, init=False)

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        """Return the mean over Gaussians."""
        opacities = inputs.gaussians.opacities
        least = torch.finfo(opacities.dtype).eps
        share = opacities.clamp(least, 1.0 - least)
        return -(share * share.log() + (1.0 - share) * (1.0 - share).log()).mean()
