"""Plane sweeps against ray-traced depths: a textured wall and a ball before it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.fitting.priors.plane_sweep import SweepOptions, SweepView, plane_sweep, sweep_points

BALL, RADIUS = torch.tensor([0.2, 0.1, 3.0], dtype=torch.float64), 0.5
NORMAL, OFFSET = torch.tensor([0.3, 0.0, -1.0], dtype=torch.float64), -4.0
"""Of the wall n·x = offset, slanted, 4 units before the origin."""


def texture(places: Tensor) -> Tensor:
    """A colour at each place in the world, with detail of many sizes that no plane repeats."""
    x, y, z = places.unbind(-1)
    waves = [
        (9 * x + 4 * (5 * y).sin()).sin() * (7 * y + 3 * z + (6 * x).cos()).cos(),
        (14 * y + 5 * (3 * x).sin()).sin(),
        (11 * x - 6 * z + 4 * (4 * y).cos()).sin(),
    ]
    return 0.5 + 0.4 * torch.stack(waves, dim=-1)


def traced(eye: tuple[float, float, float], size: int = 96) -> tuple[SweepView, Tensor]:
    """A view of the scene and its depths along the axis."""
    camera = Camera.look_at(eye, (0.1, 0.0, 3.5), size * 3 // 4, size, 50.0)
    height, width = camera.height, camera.width
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).flatten(0, 1).double()
    exact = camera.to(torch.float64)
    rays = exact.unproject(pixels, torch.ones(len(pixels), dtype=torch.float64)) - exact.centers
    wall = (OFFSET - exact.centers @ NORMAL) / (rays @ NORMAL)
    to_ball = exact.centers - BALL
    a, b, c = (rays * rays).sum(-1), 2 * (rays @ to_ball), to_ball @ to_ball - RADIUS**2
    root = b * b - 4 * a * c
    ball = torch.where(root > 0, (-b - root.clamp_min(0).sqrt()) / (2 * a), torch.inf)
    depth = torch.minimum(wall, torch.where(ball > 0, ball, torch.inf))
    colors = texture(exact.centers + depth[:, None] * rays).float()
    return SweepView(camera, colors.view(height, width, 3)), depth.view(height, width).float()


EYES = [(0.5 * math.cos(turn), 0.35 * math.sin(turn), 0.0) for turn in torch.linspace(0, 2 * math.pi, 6)[:-1].tolist()]


def test_depths_are_those_of_the_ray_tracer() -> None:
    views, truth = zip(*(traced(eye) for eye in EYES), strict=True)
    found = plane_sweep(views, 1.5, 8.0)
    for each, wanted in zip(found, truth, strict=True):
        known = each.depth > 0
        assert float(known.float().mean()) > 0.5
        errors = ((each.depth - wanted).abs() / wanted)[known]
        assert float(errors.median()) < 0.01 and float((errors < 0.03).float().mean()) > 0.9
        assert bool((each.confidence[known] >= 0.6).all()) and bool((each.confidence[~known] == 0).all())
    places, colors, confidences = sweep_points(views, found)
    assert len(places) == len(colors) == len(confidences) == sum(int((each.depth > 0).sum()) for each in found)
    ball = np.abs(np.linalg.norm(places - BALL.numpy(), axis=1) - RADIUS)
    wall = np.abs(places @ NORMAL.numpy() - OFFSET) / float(NORMAL.norm())
    assert np.median(np.minimum(ball, wall)) < 0.03
    assert np.median(np.abs(colors / 255 - texture(torch.from_numpy(places)).numpy())) < 0.1
    assert (ball < 0.05).sum() > 100


def test_brightness_changes_nothing() -> None:
    views, _ = zip(*(traced(eye, 64) for eye in EYES[:3]), strict=True)
    darker = [views[0], *(SweepView(view.camera, 0.4 * view.colors + 0.1) for view in views[1:])]
    plain, changed = (plane_sweep(each, 1.5, 8.0, SweepOptions(step=1.5)) for each in (views, darker))
    torch.testing.assert_close(changed[0].depth, plain[0].depth, rtol=1e-2, atol=0)


def test_views_that_disagree_have_no_depths() -> None:
    views, _ = zip(*(traced(eye, 64) for eye in EYES[:4]), strict=True)
    generator = torch.Generator().manual_seed(0)
    noise = [SweepView(view.camera, torch.rand(view.colors.shape, generator=generator)) for view in views]
    options = SweepOptions(step=1.5)
    share = [float((each.depth > 0).float().mean()) for each in plane_sweep(noise, 1.5, 8.0, options)]
    flat = [SweepView(view.camera, torch.full_like(view.colors, 0.5)) for view in views]
    assert max(share) < 0.05 and all(not bool(each.depth.any()) for each in plane_sweep(flat, 1.5, 8.0, options))
    masked = [
        SweepView(view.camera, view.colors, torch.zeros(view.colors.shape[:2], dtype=torch.bool)) for view in views
    ]
    assert all(not bool(each.depth.any()) for each in plane_sweep(masked, 1.5, 8.0, options))
    # Cameras at one place see no depth.
    same = plane_sweep([views[0], views[0]], 1.5, 8.0, options)
    assert not bool(same[0].depth.any())


def test_ranges_and_numbers_are_checked() -> None:
    view, _ = traced(EYES[0], 32)
    with pytest.raises(InputError, match="views: expected at least two, got 1"):
        plane_sweep([view], 1.0, 2.0)
    with pytest.raises(InputError, match="farthest: expected a finite number above 2"):
        plane_sweep([view, view], 2.0, 1.0)
    with pytest.raises(InputError, match="window: expected a whole number of at least 3, got 1"):
        SweepOptions(window=1)
