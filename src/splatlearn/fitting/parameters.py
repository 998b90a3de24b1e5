"""Gaussians as unconstrained numbers that an optimiser may move freely."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.gaussians import Gaussians

MARGIN = 1e-3
"""Colours and opacities start at least this far inside (0, 1), where their logits have a slope."""


@dataclass(frozen=True)
class Rates:
    """Adam's step for each attribute.

    - `position`: in mean distances between neighbouring Gaussians, 2/√K world units.
    - `depth`: likewise; 0 leaves the order alone, of which the loss has no gradient.
    - `scale`: of the logarithm; `rotation`: of the quaternion's numbers; `color`, `opacity`: of the logits.
    """

    position: float = 0.08
    depth: float = 0.0
    scale: float = 0.1
    rotation: float = 0.1
    color: float = 0.15
    opacity: float = 0.15

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise InputError(f"{field.name}: expected a rate of at least 0, got {value}")


@dataclass(frozen=True, eq=False)
class Parameters:
    """Centres across the image and along its depth, log scales, quaternions, and logits of colours and opacities."""

    across: Float[Tensor, "B K 2"]
    depth: Float[Tensor, "B K 1"]
    log_scales: Float[Tensor, "B K 3"]
    quaternions: Float[Tensor, "B K 4"]
    color_logits: Float[Tensor, "B K C"]
    opacity_logits: Float[Tensor, "B K"]

    @classmethod
    def of(cls, gaussians: Gaussians) -> Parameters:
        """The numbers of Gaussians [B, K], detached; colours and opacities are clipped into (MARGIN, 1 − MARGIN)."""
        gaussians = gaussians.detach()
        return cls(
            across=gaussians.means[..., :2].clone(),
            depth=gaussians.means[..., 2:].clone(),
            log_scales=gaussians.scales.log(),
            quaternions=torch.nn.functional.normalize(gaussians.quaternions, dim=-1),
            color_logits=gaussians.colors.clamp(MARGIN, 1 - MARGIN).logit(),
            opacity_logits=gaussians.opacities.clamp(MARGIN, 1 - MARGIN).logit(),
        )

    def gaussians(self) -> Gaussians:
        """The Gaussians, with gradients to the numbers."""
        return Gaussians(
            means=torch.cat([self.across, self.depth], dim=-1),
            scales=self.log_scales.exp(),
            quaternions=self.quaternions,
            colors=self.color_logits.sigmoid(),
            opacities=self.opacity_logits.sigmoid(),
        )

    def join(self, others: Parameters) -> Parameters:
        """These and others, one after the other along K; leaves of the autograd graph."""
        pairs = {name: (value, getattr(others, name)) for name, value in vars(self).items()}
        return Parameters(**{name: torch.cat(pair, dim=1).detach() for name, pair in pairs.items()})

    def adam(self, rates: Rates) -> torch.optim.Adam:
        """Adam over all numbers, each kind with its own rate; asks for gradients of those whose rate is not 0."""
        spacing = 2.0 / self.across.shape[1] ** 0.5
        steps = {
            "across": rates.position * spacing,
            "depth": rates.depth * spacing,
            "log_scales": rates.scale,
            "quaternions": rates.rotation,
            "color_logits": rates.color,
            "opacity_logits": rates.opacity,
        }
        groups = [
            {"params": [getattr(self, name).requires_grad_()], "lr": step, "full_lr": step, "name": name}
            for name, step in steps.items()
            if step > 0
        ]
        if not groups:
            raise InputError("rates: expected at least one above 0, got none")
        # A pixel's share of the loss is small, so that Adam's usual epsilon would slow the smallest Gaussians down.
        return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-12)
