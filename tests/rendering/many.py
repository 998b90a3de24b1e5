"""Sets of many Gaussians before a camera, with every kind that a renderer of scenes meets."""

from __future__ import annotations

from dataclasses import replace

import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians

SIZES = ((17, 23), (65, 12), (11, 66), (1, 7), (33, 40))
"""Ragged sizes; two go beyond a block of 64 pixels."""


def camera(size: tuple[int, int], model: str = "pinhole") -> Camera:
    """A camera 4 units from the origin that looks at it from aside."""
    made = Camera.look_at((1.0, -0.5, -4.0), (0.0, 0.0, 0.0), *size)
    if model == "pinhole":
        return made
    focal = size[1] / 4
    return Camera(size[1], size[0], focal, focal, size[1] / 2, size[0] / 2, model, made.viewmats)


def many(generator: torch.Generator, count: int, degree: int | None = 1, channels: int = 3) -> Gaussians:
    """Gaussians of log-normal sizes around the origin, with `sh` of a degree, or with `channels` colours for None.

    Most are small; a few are sub-pixel, huge, opaque, behind the camera, or in the place of another one.
    """

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    means, scales = normal(3), 0.05 * (0.7 * normal(3)).exp()
    kinds = torch.arange(count) % 50
    scales[kinds == 0] *= 30.0
    scales[kinds == 1] *= 1e-3
    scales[kinds == 2, 0] *= 40.0
    means[kinds == 3] -= torch.tensor([2.0, -1.0, -8.0])
    means[kinds == 4] = means[:1].clone()
    # Next to 1, the gradient has 1 − α in its denominator, of which float32 has few digits.
    opacities = torch.sigmoid(2.0 * normal()).clamp_max(0.97)
    opacities[kinds == 5] = 1.0
    opacities[kinds == 6] = 0.002
    seen = {"colors": torch.rand(count, channels, generator=generator)}
    if degree is not None:
        seen = {"sh": 0.4 * normal((degree + 1) ** 2, 3)}
    tensors = {"means": means, "scales": scales, "quaternions": normal(4), "opacities": opacities}
    return Gaussians.of(tensors | seen)


def free(gaussians: Gaussians, dtype: torch.dtype = torch.float32) -> Gaussians:
    """A copy whose tensors are leaves that require gradients."""
    return gaussians.map(lambda each: each.detach().to(dtype).clone().requires_grad_())


def free_camera(given: Camera, dtype: torch.dtype = torch.float32) -> Camera:
    """A copy whose matrices are a leaf that requires a gradient."""
    return replace(given, viewmats=given.viewmats.detach().to(dtype).clone().requires_grad_())
