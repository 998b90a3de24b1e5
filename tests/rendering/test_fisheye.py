"""Pictures of a fisheye: the rays of its pixels are those of pinholes, and gradients reach Gaussians and pose."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import psnr
from splatlearn.rendering import render

BENT = (0.08, -0.03, 0.006, -0.0008)


def small_ones(count: int, generator: torch.Generator) -> Gaussians:
    """Small Gaussians on a sphere around the camera: of these the linearisation is good."""
    made = random_gaussians(generator, (), count)
    way = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return replace(made, means=3 * way, scales=0.02 + 0.05 * torch.rand(count, 3, generator=generator))


def test_pixels_show_what_a_pinhole_shows_along_their_rays(generator: torch.Generator) -> None:
    """Of Gaussians 50 to 75 degrees off the axis, against a pinhole camera that looks there."""
    gaussians = small_ones(3_000, generator)
    fisheye = Camera.fisheye(300, 300, 180.0, BENT)
    turn = math.radians(60)
    view = torch.eye(4)
    view[:3, :3] = torch.tensor(
        [[math.cos(turn), 0.0, -math.sin(turn)], [0.0, 1.0, 0.0], [math.sin(turn), 0.0, math.cos(turn)]]
    )
    pinhole = Camera.pinhole(160, 160, 30.0, view)
    rows, columns = torch.meshgrid(torch.arange(160) + 0.5, torch.arange(160) + 0.5, indexing="ij")
    points = pinhole.unproject(torch.stack([columns, rows], -1).flatten(0, 1), torch.full((160 * 160,), 2.0))
    pixels, _ = fisheye.project(points)
    shown = render(gaussians, fisheye, "black", depth=False).color
    warped = F.grid_sample(shown[None], (2 * pixels / 300 - 1).reshape(1, 160, 160, 2), "bicubic", align_corners=False)
    direct = render(gaussians, pinhole, "black", depth=False).color
    assert float(direct.amax()) > 0.5
    assert float(psnr(warped, direct[None])) > 30


def test_what_lies_beside_and_behind_is_shown_as_far_as_the_lens_goes() -> None:
    camera = Camera.fisheye(200, 200, 220.0)
    angles = torch.deg2rad(torch.tensor([60.0, 100.0, 150.0, 179.5]))
    made = Gaussians(
        means=2 * torch.stack([angles.sin(), torch.zeros(4), angles.cos()], -1),
        scales=torch.full((4, 3), 0.05),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(4, 1),
        opacities=torch.full((4,), 0.9),
        colors=torch.ones(4, 3),
    )
    for index, angle in enumerate(angles.tolist()):
        shown = render(made.select(torch.tensor([index])), camera, "black")
        is_inside = angle < math.radians(110)
        assert (float(shown.color.amax()) > 0.5) is is_inside
        if is_inside:
            place = int(100 + 100 * angle / math.radians(110))
            assert float(shown.color[0, 100, place]) > 0.5
            assert shown.depth is not None and abs(float(shown.depth[100, place]) - 2.0) < 1e-5


def test_gradients_are_those_of_finite_differences(generator: torch.Generator) -> None:
    """In float64, for parameters and pose, of a lens that shows more than a half of all directions."""
    made = random_gaussians(generator, (), 4).to(torch.float64)
    far = torch.tensor([[0.1, 0.2, 1.5], [1.5, -0.3, 0.2], [-1.4, 0.5, -0.3], [0.0, 0.0, 1.8]], dtype=torch.float64)
    camera = Camera.fisheye(9, 12, 230.0, BENT)

    weights = torch.randn(2, 4, 9, 12, generator=generator, dtype=torch.float64)

    def sums(means: Tensor, scales: Tensor, quaternions: Tensor, view: Tensor) -> Tensor:
        scene = replace(made, means=means, scales=scales, quaternions=quaternions)
        rendering = render(scene, replace(camera, viewmats=view), "black", "torch", check=False)
        return (weights * torch.cat([rendering.color, rendering.alpha[None]])).sum(dim=(1, 2, 3))

    view = torch.eye(4, dtype=torch.float64)
    inputs = (far, 0.3 + 0.2 * made.scales, made.quaternions, view)
    assert torch.autograd.gradcheck(sums, tuple(each.clone().requires_grad_() for each in inputs), atol=1e-4)
