"""The 3-D filter of Mip-Splatting (Yu et al. 2024, section 5.1): no Gaussian is narrower than photographs can tell.

Photographs sample the world: what is finer than a pixel at its nearest camera, they do not determine. A Gaussian that
is convolved with a round one of about that width looks the same from there, and from nearer does not show what nobody
saw. The result is a Gaussian, so a file of it needs no filter to be shown.

Letters in shapes: K Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians

VARIANCE = 0.2
"""Variance of the filter, in squares of a pixel's width at the Gaussian: the published one."""
MARGIN = 0.15
"""A camera counts for a Gaussian whose centre is in its picture, or at most this many pictures beside it."""
EVERY = 100
"""Steps of a fit after which widths are found anew, beside those in which Gaussians are added and removed."""


class Smoothing:
    """Widens the Gaussians of a fit to what the cameras of its photographs can tell; it belongs to one fit.

    - `cameras`: one for each photograph, each of one view. Raises InputError for batches and for no camera.

    Widths are constants of the loss. They are found anew after each step that adds or removes Gaussians, and after
    every hundredth step.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        if not cameras or any(camera.batch_shape for camera in cameras):
            got = f"batches {[list(each.batch_shape) for each in cameras]}" if cameras else "none"
            raise InputError(f"cameras: expected one or more of one view each, got {got}")
        self.cameras = tuple(cameras)
        self._widths = torch.zeros(0)

    def of(self, gaussians: Gaussians) -> Gaussians:
        """Return Gaussians [K], wider (see `smoothed`)."""
        if len(self._widths) != gaussians.count:
            self._widths = self.widths(gaussians.means.detach())
        return smoothed(gaussians, self._widths)

    def after_step(self, number: int, has_edits: bool) -> None:
        """Forget the widths after step `number`, if they are to be found anew."""
        if has_edits or number % EVERY == 0:
            self._widths = self._widths[:0]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the widths, unless they are to be found anew."""
        return {"widths": self._widths} if len(self._widths) else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned."""
        self._widths = state.get("widths", self._widths[:0])

    @torch.no_grad()
    def widths(self, means: Float[Tensor, "K 3"]) -> Float[Tensor, " K"]:
        """Return the standard deviation of the filter for Gaussians at these places, world units.

        It is √VARIANCE of a pixel's width at the camera that sees the Gaussian with the smallest pixels. Gaussians that
        no camera sees get the largest width of the others.
        """
        widths = means.new_full(means.shape[:1], math.inf)
        for camera in self.cameras:
            pixels, depths = camera.project(means)
            model, lens = camera.projection, camera.lens(depths)
            seen = (depths >= camera.near) & (depths <= camera.far)
            if not model.is_spherical:
                for place, size in zip(pixels.unbind(-1), (camera.width, camera.height), strict=True):
                    seen &= (place >= -MARGIN * size) & (place <= (1 + MARGIN) * size)
            pixel = 1.0 / torch.maximum(torch.as_tensor(lens.fx), torch.as_tensor(lens.fy)).to(depths)
            here = depths * pixel if model.depth_shrinks_extents else pixel.expand_as(depths)
            widths = torch.where(seen, torch.minimum(widths, here), widths)
        is_seen = widths.isfinite()
        largest = torch.where(is_seen, widths, 0.0).amax() if len(widths) else widths.new_zeros(())
        return math.sqrt(VARIANCE) * torch.where(is_seen, widths, largest)


def smoothed(gaussians: Gaussians, widths: Float[Tensor, " K"]) -> Gaussians:
    """Return Gaussians [K] convolved with round ones of these standard deviations, with gradients.

    Opacities fall as volumes rise: Π scales · opacity stays the same.
    """
    scales = (gaussians.scales.square() + widths.square().unsqueeze(-1)).sqrt()
    # Not the ratio of products, which underflow.
    narrower = (gaussians.scales / scales.clamp_min(torch.finfo(scales.dtype).tiny)).prod(dim=-1)
    return replace(gaussians, scales=scales, opacities=gaussians.opacities * narrower)
