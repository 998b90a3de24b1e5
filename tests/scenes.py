"""Random scenes for the renderer's tests; the randomness is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats

ATTRIBUTES = ("means", "scales", "quaternions", "colors", "opacities")


def gaussians_of(tensors: Sequence[torch.Tensor]) -> Gaussians:
    """Gaussians of their tensors in the order of `ATTRIBUTES`."""
    return Gaussians(**dict(zip(ATTRIBUTES, tensors, strict=True)))


def random_gaussians(
    generator: torch.Generator,
    batch: tuple[int, ...] = (2,),
    count: int = 12,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
) -> Gaussians:
    """Gaussians inside GMAE's cube, of all sizes up to a third of it."""

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*batch, count, *shape, generator=generator, dtype=torch.float64)

    return Gaussians(
        means=uniform(3) * 2 - 1,
        scales=0.05 + 0.6 * uniform(3) ** 2,
        quaternions=torch.randn(*batch, count, 4, generator=generator, dtype=torch.float64),
        colors=uniform(channels),
        opacities=0.05 + 0.9 * uniform(),
    ).to(dtype)


def random_sh(
    generator: torch.Generator,
    degree: int,
    batch: tuple[int, ...] = (2,),
    count: int = 12,
    dtype: torch.dtype = torch.float32,
) -> Gaussians:
    """Gaussians as those of `random_gaussians`, with harmonics that take some colours below 0."""
    harmonics = torch.randn(*batch, count, (degree + 1) ** 2, 3, generator=generator, dtype=torch.float64)
    plain = random_gaussians(generator, batch, count, dtype=dtype)
    return replace(plain, colors=None, sh=harmonics.to(dtype))


def random_splats(
    generator: torch.Generator,
    size: tuple[int, int],
    batch: int = 2,
    count: int = 12,
    channels: int = 3,
    sigma: tuple[float, float] = (0.6, 6.0),
    dtype: torch.dtype = torch.float64,
) -> Splats:
    """Splats scattered over an image of (height, width) and a little beyond, standard deviations in px."""
    height, width = size

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(batch, count, *shape, generator=generator, dtype=torch.float64)

    span = torch.tensor([width, height], dtype=torch.float64)
    means2d = uniform(2) * span * 1.2 - 0.1 * span
    deviations = sigma[0] * (sigma[1] / sigma[0]) ** uniform(2)
    angle = uniform() * torch.pi
    cos, sin = angle.cos(), angle.sin()
    first, second = (1 / deviations[..., 0] ** 2), (1 / deviations[..., 1] ** 2)
    conics = torch.stack(
        [
            cos * cos * first + sin * sin * second,
            cos * sin * (first - second),
            sin * sin * first + cos * cos * second,
        ],
        dim=-1,
    )
    depths = uniform().sort(dim=1).values + 7
    return Splats(
        means2d=means2d.to(dtype),
        conics=conics.to(dtype),
        depths=depths.to(dtype),
        colors=uniform(channels).to(dtype),
        opacities=(0.02 + 0.97 * uniform()).to(dtype),
    )
