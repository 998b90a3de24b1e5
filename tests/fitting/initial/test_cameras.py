"""What cameras say of a scene: the extent, what they look at, and random Gaussians before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.fitting.initial.cameras import camera_extent, look_at_point, scattered_gaussians
from splatlearn.rendering import project
from splatlearn.rendering.view_colors import seen_by


def cameras(centers: np.ndarray, axes: np.ndarray) -> Camera:
    """Cameras at places that look along axes."""
    forward = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    right = np.cross(np.array([0.1, 1.0, 0.2]), forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    turn = np.stack([right, np.cross(forward, right), forward], axis=1)
    views = np.tile(np.eye(4), (len(centers), 1, 1))
    views[:, :3, :3] = turn
    views[:, :3, 3] = -np.einsum("vij,vj->vi", turn, centers)
    return Camera(80, 60, 70.0, 70.0, 40.0, 30.0, viewmats=torch.from_numpy(views))


def around(point: np.ndarray, count: int = 20, distance: float = 4.0) -> Camera:
    places = np.random.default_rng(0).normal(size=(count, 3))
    places *= distance / np.linalg.norm(places, axis=1, keepdims=True)
    return cameras(point + places, -places)


def test_the_extent_is_that_of_3dgs() -> None:
    centers = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]])
    assert camera_extent(centers) == pytest.approx(1.1 * 2**0.5)
    assert camera_extent(centers + 1e3) == pytest.approx(1.1 * 2**0.5)
    with pytest.raises(InputError, match="^centers: expected cameras at different places, got 3 at one"):
        camera_extent(torch.ones(3, 3) * 7)
    with pytest.raises(InputError, match="^centers: expected at least one camera"):
        camera_extent(torch.zeros(0, 3))


def test_cameras_around_a_thing_look_at_it() -> None:
    point = np.array([3.0, -1.0, 7.0])
    found = look_at_point(around(point))
    assert found is not None
    np.testing.assert_allclose(found, point, atol=1e-9)


def test_cameras_that_look_outwards_or_in_parallel_look_at_nothing() -> None:
    inward = around(np.zeros(3))
    centers = inward.centers.numpy()
    assert look_at_point(cameras(0.1 * centers, centers)) is None
    assert look_at_point(cameras(centers, np.tile([0.0, 0.0, 1.0], (20, 1)))) is None


def test_random_gaussians_fill_what_cameras_see() -> None:
    views = around(np.array([3.0, -1.0, 7.0]))
    gaussians = scattered_gaussians(views, 4000, seed=1, opacity=0.3, scale=0.5)
    assert gaussians.count == 4000 and gaussians.degree == 0 and gaussians.means.dtype == torch.float32
    half = 4.0 * 30 / 70
    away = gaussians.means.double() - torch.tensor([3.0, -1.0, 7.0]).double()
    assert half * 0.98 < float(away.abs().max()) <= half * 1.000001
    # A cube's neighbours: distances fall as the cube root of the density.
    assert float(gaussians.scales.median()) == pytest.approx(0.5 * 0.75 * 2 * half / 4000 ** (1 / 3), rel=0.15)
    for view in range(3):
        one = views[view].map(lambda each: each.float())
        flat = gaussians.map(lambda each: each.unsqueeze(0))
        splats = project(seen_by(flat, one), one)
        assert float((splats.depths > 0).float().mean()) > 0.99
        inside = ((splats.means2d > 0) & (splats.means2d < torch.tensor([80.0, 60.0]))).all(dim=-1)
        assert float(inside.float().mean()) > 0.6
    colors = gaussians.colors_seen(torch.ones(4000, 3))
    assert 0 <= float(colors.min()) < 0.01 and 0.99 < float(colors.max()) <= 1.0
    assert torch.equal(gaussians.means[:100], scattered_gaussians(views, 100, seed=1).means)
    assert not torch.equal(gaussians.means[:100], scattered_gaussians(views, 100, seed=2).means)


def test_without_a_common_point_they_reach_three_extents_from_the_cameras() -> None:
    centers = around(np.zeros(3)).centers.numpy()
    outward = cameras(0.1 * centers, centers)
    gaussians = scattered_gaussians(outward, 3000)
    largest = float((gaussians.means.double() - outward.centers.mean(dim=0)).abs().max())
    assert largest == pytest.approx(3.0 * camera_extent(outward.centers), rel=0.01)


def test_intrinsics_of_each_view_are_taken() -> None:
    views = around(np.zeros(3))
    own = replace(views, fx=torch.full((20,), 70.0), fy=torch.full((20,), 70.0))
    assert torch.equal(scattered_gaussians(own, 50).means, scattered_gaussians(views, 50).means)


def test_numbers_out_of_range_are_named() -> None:
    for name, value in (("count", 0), ("opacity", 0.0), ("scale", -1.0)):
        with pytest.raises(InputError, match=f"^{name}: expected"):
            scattered_gaussians(around(np.zeros(3)), **{"count": 3, name: value})
