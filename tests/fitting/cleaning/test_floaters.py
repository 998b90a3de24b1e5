"""Floaters: planted ones are found, surfaces stay, and distances are those of a brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.cleaning.floaters import FloaterOptions, find_floaters, largest_weights, neighbour_means
from splatlearn.rendering import render


def sphere(count: int, generator: torch.Generator) -> Gaussians:
    places = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Gaussians(
        means=places,
        scales=torch.full((count, 3), 0.04),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.9),
        colors=torch.rand(count, 3, generator=generator),
    )


def cameras(count: int = 6, size: int = 96) -> list[Camera]:
    angles = torch.linspace(0, 2 * torch.pi, count + 1)[:-1]
    return [
        Camera.look_at((4 * float(a.sin()), 0.5, -4 * float(a.cos())), (0.0, 0.0, 0.0), size, size, 50.0)
        for a in angles
    ]


@pytest.mark.parametrize(("solid", "count"), [(1.0, 4), (0.5, 4), (0.05, 8)])
def test_distances_are_those_of_all_pairs(solid: float, count: int) -> None:
    rng = np.random.default_rng(1)
    means, flags = rng.normal(size=(60, 3)), rng.random(60) < solid
    means[7] = means[3]  # two at one place
    flags[3], flags[7] = True, True
    found = neighbour_means(means, flags, count)
    for index in range(60):
        others = [np.linalg.norm(means[index] - means[other]) for other in np.flatnonzero(flags) if other != index]
        nearest = sorted(others)[: min(count, int(flags.sum()) - 1)]
        assert found[index] == pytest.approx(np.mean(nearest), abs=1e-12)
    assert np.isinf(neighbour_means(means[:1], np.array([True]), 4)).all()


def test_planted_floaters_are_found_and_the_surface_stays(generator: torch.Generator) -> None:
    surface = sphere(1500, generator)
    count = 40
    planted = replace(
        sphere(count, generator), means=1.8 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator))
    )
    background = replace(
        sphere(60, generator), means=20.0 * sphere(60, generator).means, scales=torch.full((60, 3), 4.0)
    )
    found = find_floaters(Gaussians.cat([surface, planted, background]))
    parts = found.alone.split([1500, count, 60])
    assert float(parts[1].float().mean()) >= 0.95 and float(parts[0].float().mean()) <= 0.01
    # Large Gaussians of a background stand apart, but reach each other.
    assert not bool(parts[2].any()) and not bool(found.unseen.any()) and found.count == int(found.alone.sum())


def test_what_no_camera_shows_is_unseen(generator: torch.Generator) -> None:
    surface = sphere(1500, generator)
    inside = replace(sphere(50, generator), means=0.1 * sphere(50, generator).means)
    solid = replace(surface, scales=torch.full((1500, 3), 0.12), opacities=torch.full((1500,), 0.999))
    both = Gaussians.cat([solid, inside])
    found = find_floaters(both, cameras())
    assert bool(found.unseen[1500:].all()) and not bool(found.unseen[:1500].all())
    before, after = (render(each, cameras()[0], "black").color for each in (both, both.select(found.kept)))
    assert float((before - after).abs().max()) < 0.05
    weights = largest_weights(both, cameras())
    assert weights is not None
    oracle = torch.zeros(both.count)
    for camera in cameras():
        for index in range(0, both.count, 75):
            # The weight of a Gaussian is the gradient of the sum of colours by its own.
            colors = torch.zeros(both.count, 1)
            colors[index] = 1.0
            picture = render(replace(both, colors=colors), camera, (0.0,), depth=False).color
            oracle[index] = torch.maximum(oracle[index], picture.max())
    torch.testing.assert_close(weights[::75], oracle[::75], atol=1e-5, rtol=1e-4)


def test_weights_are_those_of_the_filter(generator: torch.Generator) -> None:
    """Thin Gaussians, which are thickened to a pixel with the filter "point", show little with "mip"."""
    thin, camera = replace(sphere(40, generator), scales=torch.full((40, 3), 0.004)), cameras()[0]
    for filter in ("point", "mip"):
        weights = largest_weights(thin, [camera], filter)
        assert weights is not None
        for index in range(0, 40, 9):
            colors = torch.zeros(40, 1)
            colors[index] = 1.0
            picture = render(replace(thin, colors=colors), camera, (0.0,), depth=False, filter=filter).color
            assert float(weights[index]) == pytest.approx(float(picture.max()), abs=1e-5)
    options = FloaterOptions(least_weight=0.1)
    assert not bool(find_floaters(thin, cameras(), options).unseen.any())
    assert bool(find_floaters(thin, cameras(), options, filter="mip").unseen.all())


def test_a_scene_of_floaters_alone_is_kept(generator: torch.Generator) -> None:
    gaussians = sphere(5, generator)
    away = Camera.look_at((0.0, 0.0, 50.0), (0.0, 0.0, 100.0), 8, 8, 20.0)
    found = find_floaters(gaussians, [away])
    assert bool(found.unseen.all()) and bool(found.kept.all()) and found.count == 0
    assert find_floaters(gaussians.select(torch.tensor([0]))).count == 0
    with pytest.raises(InputError, match="neighbours: expected a whole number of at least 1, got 0"):
        FloaterOptions(neighbours=0)
