"""The visual hull holds the object, is little larger, and has the colours that photographs have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.fitting.initial.hull import HullOptions, Silhouette, hull_points

RADIUS = 0.6


def ball(camera: Camera) -> Silhouette:
    """A ball about the origin, ray-traced; its colour is its direction from the middle."""
    rows, columns = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).flatten(0, 1).double()
    eye = camera.centers.double()
    rays = torch.nn.functional.normalize(camera.unproject(pixels, torch.ones(len(pixels)).double()) - eye, dim=-1)
    along = -(rays @ eye)
    short = eye @ eye - along.square()
    hit = short < RADIUS**2
    places = eye + (along - (RADIUS**2 - short).clamp_min(0).sqrt())[:, None] * rays
    size = camera.height, camera.width
    colors = torch.where(hit[:, None], 0.5 + 0.5 * places / RADIUS, 0.0)
    return Silhouette(camera, hit.float().view(size), colors.float().view(*size, 3))


def around(count: int) -> list[Silhouette]:
    generator = torch.Generator().manual_seed(0)
    eyes = 3.0 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return [ball(Camera.look_at(eye.tolist(), (0.0, 0.0, 0.0), 100, 120, 45.0)) for eye in eyes]


def test_the_hull_of_a_ball_is_a_ball_with_its_colours() -> None:
    hull = hull_points(around(40), np.zeros(3), 1.0, HullOptions(cells=48))
    distances = np.linalg.norm(hull.places, axis=1)
    # What is carved lies outside: no point of the surface is inside by more than a cell.
    assert distances.min() > RADIUS - hull.cell and np.percentile(distances, 90) < RADIUS + 3.5 * hull.cell
    volume = hull.inside * hull.cell**3
    assert 1.0 < volume / (4 / 3 * np.pi * RADIUS**3) < 1.5
    wanted = 255 * (0.5 + 0.5 * hull.places / distances[:, None])
    assert np.median(np.abs(hull.colors - wanted)) < 12
    finer = hull_points(around(40), np.zeros(3), 1.0, HullOptions(cells=96))
    assert finer.inside * finer.cell**3 < volume


def test_wrong_silhouettes_may_be_outvoted() -> None:
    views = around(30)
    bad = Silhouette(views[3].camera, torch.zeros_like(views[3].opacity), views[3].colors)
    with pytest.raises(InputError, match="got 30 that leave nothing of it"):
        hull_points([*views[:3], bad, *views[4:]], np.zeros(3), 1.0, HullOptions(cells=32))
    hull = hull_points([*views[:3], bad, *views[4:]], np.zeros(3), 1.0, HullOptions(cells=32, wrong=0.1))
    assert np.median(np.linalg.norm(hull.places, axis=1)) == pytest.approx(RADIUS, abs=0.2)
    with pytest.raises(InputError, match="views: expected silhouettes, got none"):
        hull_points([], np.zeros(3), 1.0)
    with pytest.raises(InputError, match="cells: expected a whole number of at least 8"):
        HullOptions(cells=4)


def test_panoramas_see_what_is_behind_their_axis() -> None:
    """Their axes point away from the ball, which stands beside the seam."""
    views = []
    for view in around(30):
        away = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0])) @ view.camera.viewmats
        turn = torch.tensor([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])
        away[:3] = turn @ away[:3]
        views.append(ball(Camera.panorama(256, 512, away)))
    hull = hull_points(views, np.zeros(3), 1.0, HullOptions(cells=48))
    distances = np.linalg.norm(hull.places, axis=1)
    assert distances.min() > RADIUS - hull.cell and np.percentile(distances, 90) < RADIUS + 4 * hull.cell
    wanted = 255 * (0.5 + 0.5 * hull.places / distances[:, None])
    assert np.median(np.abs(hull.colors - wanted)) < 15
