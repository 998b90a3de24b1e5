"""Recovery after pruning, and harmonics of a lower degree, fitted to the scene's own pictures."""

import pytest
import torch

from files.clouds import random_cloud
from splatlearn.compression import kept_share, recover, significance, surrounding_cameras
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import render


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return random_cloud(torch.Generator().manual_seed(0), 400, 1)


@pytest.fixture(scope="module")
def cameras(scene: Gaussians) -> list[Camera]:
    return [camera.resized(48, 64) for camera in surrounding_cameras(scene, 4)]


def error(scene: Gaussians, other: Gaussians, cameras: list[Camera], filter: str = "point") -> float:
    """The mean squared difference of pictures."""
    pairs = [
        [render(each, camera, "black", filter=filter).color.clamp(0, 1) for each in (scene, other)]
        for camera in cameras
    ]
    return float(torch.stack([(one - two).square().mean() for one, two in pairs]).mean())


@pytest.mark.parametrize("filter", ["point", "mip"])
def test_what_pruning_left_comes_nearer(scene: Gaussians, cameras: list[Camera], filter: str) -> None:
    pruned = kept_share(scene, significance(scene, cameras, filter=filter), 0.5)
    told: list[tuple[int, int]] = []
    found = recover(pruned, scene, cameras, 40, filter=filter, told=lambda *each: told.append(each))
    assert found.count == pruned.count and found.degree == pruned.degree
    assert error(scene, found, cameras, filter) < 0.6 * error(scene, pruned, cameras, filter)
    assert told[-1] == (40, 40) and len(told) == 40


def test_lower_harmonics_take_over_what_they_can(scene: Gaussians, cameras: list[Camera]) -> None:
    flat = scene.with_degree(0)
    found = recover(flat, scene, cameras, 40)
    assert found.degree == 0
    assert error(scene, found, cameras) < 0.8 * error(scene, flat, cameras)


def test_no_steps_change_nothing(scene: Gaussians, cameras: list[Camera]) -> None:
    assert recover(scene, scene, cameras, 0) is scene


def test_the_seed_decides_the_order(scene: Gaussians, cameras: list[Camera]) -> None:
    pruned = scene.select(slice(200))
    one, two, other = (recover(pruned, scene, cameras, 5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.means, two.means) and not torch.equal(one.means, other.means)


def test_arguments_that_cannot_be(scene: Gaussians) -> None:
    with pytest.raises(ValueError, match="cameras: expected at least one, got none"):
        recover(scene, scene, [], 5)
    with pytest.raises(ValueError, match="steps: expected"):
        recover(scene, scene, [], -1)
