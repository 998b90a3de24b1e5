"""Images for pages, made of random Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render
from splatlearn.viewer import ViewedImage

BACKGROUND = (0.9, 0.6, 0.2)


def viewed(
    generator: torch.Generator,
    count: int = 60,
    camera: Camera | None = None,
    name: str = "leaf",
    gaussians: Gaussians | None = None,
) -> ViewedImage:
    """An image of noise, and Gaussians that have nothing to do with it."""
    camera = camera or Camera.gmae(40, 60)
    gaussians = gaussians or random_gaussians(generator, (), count)
    image = torch.rand(3, camera.height, camera.width, generator=generator)
    groups = torch.arange(gaussians.count) % 4
    return ViewedImage(name, image, gaussians, camera, torch.tensor(BACKGROUND), groups)


def rendered(image: ViewedImage, camera: Camera | None = None) -> Tensor:
    """What the renderer makes of it, [3, H, W]."""
    return render(image.gaussians, camera or image.camera, image.background).color.clamp(0, 1)


def psnr(first: Tensor, second: Tensor) -> float:
    """dB for a peak of 1."""
    assert first.shape == second.shape
    return float(-10 * (first.double() - second.double()).square().mean().log10())
