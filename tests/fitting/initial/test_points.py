"""Points to first Gaussians: sizes, what is dropped, and what a cap keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splatlearn.core.errors import InputError
from splatlearn.fitting.initial.points import PointOptions, point_gaussians

CENTERS = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])


def cloud(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)), rng.integers(0, 256, (count, 3), dtype=np.uint8)


def brute_sizes(points: np.ndarray) -> np.ndarray:
    distances = np.sort(np.square(points[:, None] - points[None]).sum(axis=-1), axis=1)
    return np.sqrt(distances[:, 1:4].mean(axis=1))


def test_sizes_colours_and_places() -> None:
    points, colors = cloud(60)
    start = point_gaussians(points, colors, CENTERS, 5.0)
    gaussians = start.gaussians
    assert (start.not_finite, start.near_cameras, start.duplicates, start.over_cap) == (0, 0, 0, 0)
    np.testing.assert_allclose(gaussians.scales.numpy(), np.repeat(brute_sizes(points)[:, None], 3, 1), rtol=1e-6)
    np.testing.assert_allclose(gaussians.means.numpy(), points, rtol=1e-6)
    seen = gaussians.colors_seen(torch.ones(60, 3)).numpy()
    np.testing.assert_allclose(seen, colors / 255, atol=1e-6)
    assert gaussians.degree == 0 and torch.equal(gaussians.opacities, torch.full((60,), 0.1))
    smaller = point_gaussians(points, colors, CENTERS, 5.0, PointOptions(opacity=0.5, scale=0.1)).gaussians
    torch.testing.assert_close(smaller.scales, 0.1 * gaussians.scales)
    assert torch.equal(smaller.opacities, torch.full((60,), 0.5))


def test_what_would_break_a_fit_is_dropped_and_counted() -> None:
    points, colors = cloud(40)
    points[3] = np.nan
    points[4, 2] = np.inf
    points[7] = [5.0, 0.0, 0.0]
    points[8] = [0.0, 5.0, 0.049]
    points[9] = [0.0, 5.0, 0.051]
    points[20] = points[30] = points[10]
    points[11], points[12] = [0.0, 1.0, 2.0], [-0.0, 1.0, 2.0]
    start = point_gaussians(points, colors, CENTERS, 5.0)
    assert (start.not_finite, start.near_cameras, start.duplicates) == (2, 2, 3)
    assert sorted({*range(40)} - {*start.kept.tolist()}) == [3, 4, 7, 8, 12, 20, 30]
    assert float(start.gaussians.scales.min()) > 0.01
    # Neighbours are those that are left.
    np.testing.assert_allclose(start.gaussians.scales[:, 0].numpy(), brute_sizes(points[start.kept]), rtol=1e-6)


def test_a_cap_keeps_the_same_points_whatever_they_are() -> None:
    points, colors = cloud(1000)
    start = point_gaussians(points, colors, CENTERS, 5.0, PointOptions(cap=100, seed=3))
    assert start.gaussians.count == 100 and start.over_cap == 900
    np.testing.assert_allclose(start.gaussians.scales[:, 0].numpy(), brute_sizes(points[start.kept]), rtol=1e-6)
    moved = point_gaussians(2.0 * points, colors[::-1].copy(), CENTERS * 2, 10.0, PointOptions(cap=100, seed=3))
    np.testing.assert_array_equal(start.kept, moved.kept)
    other = point_gaussians(points, colors, CENTERS, 5.0, PointOptions(cap=100, seed=4))
    assert not np.array_equal(start.kept, other.kept)
    # No part of the list is preferred.
    assert 400 < start.kept.mean() < 600


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_have_sizes_too(count: int) -> None:
    points, colors = cloud(count)
    sizes = point_gaussians(points, colors, CENTERS, 5.0).gaussians.scales
    assert sizes.shape == (count, 3) and bool((sizes > 0).all()) and bool((sizes <= 5.0).all())


def test_a_point_far_away_is_no_larger_than_the_scene() -> None:
    points, colors = cloud(10)
    points[0] = 1e6
    assert float(point_gaussians(points, colors, CENTERS, 5.0).gaussians.scales.max()) == 5.0


@pytest.mark.usefixtures("no_shape_checks")
def test_wrong_points_are_named() -> None:
    points, colors = cloud(5)
    with pytest.raises(InputError, match=r"^points, colors: expected shapes \[N, 3\] and colours of bytes"):
        point_gaussians(points, colors.astype(np.float64), CENTERS, 5.0)
    with pytest.raises(InputError, match="^points: expected some to make Gaussians of, got 5, of which 5 are not fin"):
        point_gaussians(np.full((5, 3), np.nan), colors, CENTERS, 5.0)
    with pytest.raises(InputError, match="^cap: expected a whole number of at least 1"):
        PointOptions(cap=0)
