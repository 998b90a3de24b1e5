"""The reconstruction loss of a rendering with a soft order: what gives depth a gradient through occlusion."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.masked_autoencoder import MaskedOutput
from splatlearn.models.masking import Mask
from splatlearn.rendering import composite_softly, project

SIDE = 16
"""Pixels a side that are composited, of a lattice over the image."""
WARM, COLD = 0.5, 0.02
"""Temperatures at the start and at the end, world units; depths lie in (−1, 1)."""


class SoftOrder:
    """Mean squared error, over hidden pixels of a lattice, between images and their softly ordered rendering.

    The rendering is `composite_softly`'s. The lattice moves over the image with `turn`, so that every pixel has its
    turn; the softness falls geometrically from WARM to COLD as `done` goes from 0 to 1. It is a term of a
    `WeightedSum`, told where training is by `at`.
    """

    def __init__(self, config: GMAEConfig) -> None:
        self.config = config
        self.softness, self.turn = WARM, 0

    def at(self, done: float, turn: int) -> None:
        """Say which share of training is done, in [0, 1], and the number of the step."""
        self.softness, self.turn = WARM * (COLD / WARM) ** min(max(done, 0.0), 1.0), turn

    def __call__(self, made: MaskedOutput, target: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
        """Raises InputError for a reconstruction without Gaussians."""
        if made.gaussians is None or made.background is None:
            raise InputError("reconstruction: expected one of a GMAE, which has Gaussians, got one without Gaussians")
        height, width = target.shape[-2:]
        rows, columns = lattice(height, self.turn), lattice(width, self.turn // max(1, height // SIDE))
        pixels = torch.cartesian_prod(columns + 0.5, rows + 0.5).to(target.device)
        splats = project(made.gaussians, self.config.camera(height, width))
        painted = composite_softly(splats, pixels, self.softness, made.background)
        sites = torch.cartesian_prod(columns, rows).to(target.device)
        wanted = target[:, :, sites[:, 1], sites[:, 0]].transpose(1, 2)
        hidden = _hidden(made.mask, sites, (height, width))
        error = (painted - wanted.float()).square().mean(dim=-1)
        return (error * hidden).sum() / hidden.sum().clamp_min(1.0)


def lattice(side: int, turn: int) -> Int64[Tensor, " N"]:
    """Evenly spaced places along a side, moved on by one with each turn."""
    step = max(1, side // SIDE)
    return torch.arange(turn % step, side, step)


def _hidden(mask: Mask, sites: Int64[Tensor, "P 2"], size: tuple[int, int]) -> Float[Tensor, "B P"]:
    """1 where a pixel's patch is hidden."""
    rows, columns = mask.grid
    patches = (sites[:, 1] * rows // size[0]) * columns + sites[:, 0] * columns // size[1]
    covered = torch.zeros(mask.batch, rows * columns, device=mask.hidden.device)
    covered.scatter_(1, mask.hidden, 1.0)
    return covered[:, patches]
