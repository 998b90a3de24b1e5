"""A photograph finds its place in a known scene."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fitting.cameras.test_poses import batch_of, disturbed
from reconstruction.small_captures import cameras_around, known_gaussians
from splatlearn.core.errors import InputError
from splatlearn.fitting.cameras.localisation import localise
from splatlearn.fitting.cameras.poses import pose_errors
from splatlearn.rendering import render


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.large) for seed in range(1, 8))])
def test_a_photograph_is_localised_from_a_guess_that_is_off_by_five_degrees(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scene, cameras = known_gaussians(count=300), batch_of(cameras_around(9, 64, 48))
    right, guess = cameras[seed], disturbed(cameras, generator, 5.0, 0.2)[seed]
    color = render(scene, right, "black").color
    found = localise(scene, (255 * color.clamp(0, 1)).round().byte(), guess)
    poses = (each.viewmats[None].double().numpy() for each in (found.camera, right))
    degrees, distance = pose_errors(*poses)
    assert degrees[0] < 0.2 and distance[0] < 0.01
    assert found.loss < 0.1 * found.loss_before
    assert found.degrees == pytest.approx(5.0, abs=0.3)
    assert found.distance == pytest.approx(0.2, abs=0.02)


def test_masked_pixels_and_the_background_do_not_mislead(generator: torch.Generator) -> None:
    scene, cameras = known_gaussians(count=100), batch_of(cameras_around(5, 48, 32))
    right, guess = cameras[1], disturbed(cameras, generator, 2.0, 0.05)[1]
    color, mask = render(scene, right, "white").color, torch.ones(32, 48)
    color[:, :, :16], mask[:, :16] = torch.rand(3, 32, 16, generator=generator), 0.0
    found = localise(scene, color, guess, mask=mask, background="white", scales=(2, 1))
    degrees, _ = pose_errors(*(each.viewmats[None].double().numpy() for each in (found.camera, right)))
    assert degrees[0] < 0.2


def test_a_right_guess_stays() -> None:
    """It is never made worse, also by a photograph of something else."""
    scene, camera = known_gaussians(count=60), cameras_around(1, 32, 24)[0]
    found = localise(scene, render(scene, camera, "black").color, camera, scales=(1,), steps=5)
    assert found.loss <= found.loss_before and found.degrees < 0.02
    other = localise(scene, torch.zeros(3, 24, 32), camera, scales=(1,), steps=5)
    assert other.loss <= other.loss_before


def test_what_cannot_be_is_named() -> None:
    scene, camera = known_gaussians(count=5), cameras_around(1, 32, 24)[0]
    with pytest.raises(InputError, match=r"photo: expected shape \[C, 24, 32\], got \[3, 8, 8\]"):
        localise(scene, torch.zeros(3, 8, 8), camera)
    with pytest.raises(InputError, match=r"guess: expected one camera, got a batch \[1\]"):
        localise(scene, torch.zeros(3, 24, 32), replace(camera, viewmats=camera.viewmats[None]))
    with pytest.raises(InputError, match="scales: expected whole numbers from 1 on"):
        localise(scene, torch.zeros(3, 24, 32), camera, scales=(0,))
    # A scene behind the camera is no error.
    away = replace(camera, viewmats=torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0])) @ camera.viewmats)
    assert math.isfinite(localise(scene, torch.zeros(3, 24, 32), away, scales=(1,), steps=2).loss)
