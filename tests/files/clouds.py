"""Random scenes whose numbers every splat format can hold, and a camera that sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import render


def random_cloud(generator: torch.Generator, count: int = 300, degree: int = 2) -> Gaussians:
    """Gaussians in a cube of side 2, of standard deviations up to 0.3."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    harmonics = uniform((degree + 1) ** 2, 3) * 0.6 - 0.3
    harmonics[:, 0] = uniform(3) * 3.0 - 1.5
    quaternions = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)
    return Gaussians(
        means=uniform(3) * 2 - 1,
        scales=0.02 * 15 ** uniform(3),
        quaternions=quaternions,
        opacities=0.05 + 0.9 * uniform(),
        sh=harmonics,
    )


def sh_of(cloud: Gaussians) -> Tensor:
    assert cloud.sh is not None
    return cloud.sh


def covariances(cloud: Gaussians) -> Tensor:
    """Σ = R S² Rᵀ of each Gaussian [K, 3, 3]."""
    axes = quaternions_to_matrices(cloud.quaternions) * cloud.scales.unsqueeze(-2)
    return axes @ axes.mT


def picture(cloud: Gaussians, size: int = 64) -> Tensor:
    """The scene [3, H, W] from the side and a little above."""
    camera = Camera.look_at((1.5, -1.2, -3.5), (0.0, 0.0, 0.0), size, size, 50.0)
    return render(cloud, camera).color


def psnr(first: Tensor, second: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]."""
    return float(-10 * torch.log10((first - second).square().mean() + 1e-20))
