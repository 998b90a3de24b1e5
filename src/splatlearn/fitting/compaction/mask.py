"""The learnable mask of Compact 3DGS: Gaussians that pictures hardly need switch themselves off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.compaction.shaping import Shaping
from splatlearn.fitting.views.view_model import OwnNumber
from splatlearn.fitting.views.view_rows import Rate

NAME = "masks"
LEAST = 0.01
"""Sigmoid of a mask from which on its Gaussian is drawn; the published one."""
FIRST, RATE = 1.0, 0.01
"""The published first mask, before its sigmoid, and rate of Adam."""
TIME_TO_LEAVE = 0.1
"""Share of the steps within which a mask can go from its first number to where its Gaussian is switched off. The
published rate does that in 560 steps, a fiftieth of the published 30,000: in fits of fewer steps than 5,600 masks move
faster, since they would not get there."""
REMOVALS = 30
"""Number of times in a fit that Gaussians which are switched off are removed: every 1,000 of the published steps."""


class Mask(Shaping):
    """Multiplies opacities and scales by 0 or 1, and pulls all towards 0 (Lee et al. 2024, arXiv 2311.13681).

    The factor of a Gaussian is 1 if the sigmoid of its mask is above 0.01, and its derivative is that of the sigmoid.
    Gaussians whose factor is 0 are removed after each thirtieth of the steps and after the last one.

    - `weight`: of the mean sigmoid in the loss; published are 5e-4 for photographs and 4e-3 for synthetic objects.
    - `steps`: of the fit.
    """

    def __init__(self, weight: float, steps: int) -> None:
        check_number("weight", weight, above=0)
        check_whole("steps", steps, 1)
        self.weight, self.steps = weight, steps
        # Adam moves a number by about its rate in a step.
        rate = max(RATE, (FIRST - math.log(LEAST / (1 - LEAST))) / (TIME_TO_LEAVE * steps))
        self.own = {NAME: OwnNumber(FIRST, Rate(rate, rate))}

    def of(self, gaussians: Gaussians, own: Mapping[str, Tensor], number: int) -> Gaussians:
        """Return the Gaussians, those that are switched off with opacities and scales of 0."""
        soft = own[NAME].sigmoid()
        factor = soft + ((soft > LEAST).to(soft) - soft).detach()
        return replace(
            gaussians, opacities=gaussians.opacities * factor, scales=gaussians.scales * factor.unsqueeze(-1)
        )

    def penalty(self, own: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Return the weighted mean sigmoid."""
        return self.weight * own[NAME].sigmoid().mean()

    def kept(self, own: Mapping[str, Tensor], number: int) -> Bool[Tensor, " K"] | None:
        """Return the Gaussians that are drawn, in a step that removes the others."""
        if number % max(1, self.steps // REMOVALS) and number < self.steps:
            return None
        kept = own[NAME].detach().sigmoid() > LEAST
        # A fit has one Gaussian at least.
        kept[own[NAME].argmax()] = True
        return kept
