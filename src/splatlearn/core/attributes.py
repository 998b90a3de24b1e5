"""Sets of Gaussians as attributes: 14 numbers for each Gaussian, which models of splats read and predict.

Letters in shapes: K Gaussians, and 14 numbers in the order of `ATTRIBUTES`, which is that of ShapeSplat's splat files
(Ma et al. 2024, arXiv 2408.10906).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.geometry.quaternions import unit_quaternions

ATTRIBUTES: dict[str, slice] = {
    "means": slice(0, 3),
    "opacities": slice(3, 4),
    "scales": slice(4, 7),
    "quaternions": slice(7, 11),
    "colors": slice(11, 14),
}
"""The attributes of a Gaussian, and where their numbers stand."""
NUMBERS = 14


def attributes_of(gaussians: Gaussians) -> Float[Tensor, "*B K 14"]:
    """The attributes of Gaussians: activated numbers, unit quaternions with w ≥ 0, and colours of degree 0.

    Opacities are in [0, 1], scales are standard deviations, and colours are the constant part of harmonics, C0·sh + ½,
    without a clamp. Raises InputError for other numbers of colours than three.
    """
    if gaussians.sh is not None:
        colors = C0 * gaussians.sh[..., 0, :] + 0.5
    else:
        colors = gaussians.fixed_colors()
        if colors.shape[-1] != 3:
            raise InputError(f"gaussians: expected 3 colour channels, got {colors.shape[-1]}")
    parts = [gaussians.means, gaussians.opacities.unsqueeze(-1), gaussians.scales]
    return torch.cat([*parts, upper_quaternions(gaussians.quaternions), colors], dim=-1)


def gaussians_of(attributes: Float[Tensor, "*B K 14"]) -> Gaussians:
    """The Gaussians with these attributes, with `colors`; the inverse of `attributes_of`."""
    parts = {name: attributes[..., place] for name, place in ATTRIBUTES.items()}
    return Gaussians.of({**parts, "opacities": parts["opacities"].squeeze(-1)})


def upper_quaternions(quaternions: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternions with w ≥ 0: of the two that mean one rotation the same one, whichever came."""
    unit = unit_quaternions(quaternions)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def placed(gaussians: Gaussians) -> Gaussians:
    """Gaussians [K] about the origin: their mean is 0 and the farthest centre is 1 away; scales shrink along.

    A set whose centres all coincide is moved and not scaled. Source: ShapeSplat's loaders.
    """
    middle = gaussians.means.double().mean(dim=-2)
    means = gaussians.means.double() - middle
    radius = float(means.norm(dim=-1).max())
    radius = radius if radius > 0 else 1.0
    return replace(gaussians, means=(means / radius).to(gaussians.means), scales=gaussians.scales / radius)
