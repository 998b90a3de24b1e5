"""How much the pictures of a scene change with single numbers of each Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.files.sl3.quantising import Sensitivities
from splatlearn.rendering import render


def sensitivities(
    gaussians: Gaussians, cameras: Sequence[Camera], filter: str = "point", seed: int = 0
) -> Sensitivities:
    """Estimate the mean squared change of a pixel's colour for a small change of each number of Gaussians [K].

    It is the diagonal of the Gauss-Newton matrix, estimated by random signs z of pixels (Hutchinson 1989; Bekas et al.
    2007): the square of the derivative of Σ z·colour is right on the average. Numbers of one kind are averaged: the
    three coordinates of a position, logarithms of scales and angles of turns, and all coefficients of harmonics.

    - `gaussians`: with `sh`; `cameras`: single ones, over which the result is the mean; `filter`: see `render`.
    - `seed`: of the signs.

    Raises InputError without cameras.
    """
    if not cameras:
        raise InputError("cameras: expected at least one, got none; surrounding_cameras makes some")
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(5, gaussians.count, dtype=torch.float64)
    for camera in cameras:
        leaves = {name: each.detach().requires_grad_() for name, each in gaussians.tensors().items()}
        color = render(replace(gaussians, **leaves), camera, "black", depth=False, check=False, filter=filter).color
        signs = torch.randint(0, 2, color.shape, generator=generator).mul(2).sub(1).to(color)
        found = torch.autograd.grad((color * signs).sum(), list(leaves.values()))
        slopes = {name: each.double() for name, each in zip(leaves, found, strict=True)}
        squares = [
            slopes["means"].square().mean(dim=1),
            (slopes["scales"] * gaussians.scales).square().mean(dim=1),
            _angles(gaussians.quaternions.double(), slopes["quaternions"]).square().mean(dim=1),
            slopes["opacities"].square(),
            slopes["sh"].square().mean(dim=(1, 2)),
        ]
        total += torch.stack(squares).cpu() / color.numel()
    return Sensitivities(*(total / len(cameras)).numpy())


def _angles(quaternions: Float[Tensor, "K 4"], slopes: Float[Tensor, "K 4"]) -> Float[Tensor, "K 3"]:
    """Derivatives with respect to small turns about a Gaussian's own axes: dq = ½·q·(0, ω)."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=1).unbind(1)
    a, b, c, d = slopes.unbind(1)
    turns = (w * b - x * a + z * c - y * d, w * c - y * a - z * b + x * d, w * d - z * a + y * b - x * c)
    return 0.5 * torch.stack(turns, dim=1)
