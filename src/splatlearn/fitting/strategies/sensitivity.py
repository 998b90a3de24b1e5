"""Sensitivity of the pictures to the removal of a Gaussian."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam


def removal_changes(optimizer: GaussianAdam) -> Float[Tensor, " K"]:
    """Return by how much the loss would change if a Gaussian were removed, to second order and up to one factor.

    To remove a Gaussian of opacity o is the step −o: with the curvature h of the loss along it, the loss rises by
    ½·h·o² where its gradient is 0 (optimal brain damage, LeCun et al. 1989). h is taken as the mean square of the
    gradient over the recent steps, as in the score of Speedy-Splat (Hanson et al. 2025), here the second moment of
    Adam, which knows the views of about a thousand steps. In logits, o·∂L/∂o = (∂L/∂logit) / (1 − o).
    """
    squares = optimizer.moments("logits")[1]
    opacities = optimizer.parameters["logits"].detach().sigmoid()
    return squares / (1.0 - opacities).clamp_min(torch.finfo(opacities.dtype).eps).square()
