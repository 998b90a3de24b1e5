"""The study of one picture of an object: cameras relative to the one that took the picture."""

from __future__ import annotations

import pytest
import torch

from benchmarks.object_photograph import SIDES, Options, ring, scores, seen_from, train
from scenes import random_gaussians
from splatlearn.core.geometry.quaternions import matrices_to_quaternions
from splatlearn.rendering import render


def test_a_set_in_the_frame_of_one_camera_looks_the_same_from_another(generator: torch.Generator) -> None:
    gaussians, cameras = random_gaussians(generator, (), 40), ring(24)
    first, wanted = torch.tensor([3]), torch.tensor([[3, 6]])
    turned = gaussians.transformed(matrices_to_quaternions(cameras.viewmats[3, :3, :3]))
    pictures = render(turned, seen_from(cameras, first, wanted)[0], "white", depth=False).color
    truth = render(gaussians, cameras, "white", depth=False).color[[3, 6]]
    torch.testing.assert_close(pictures, truth, atol=1e-4, rtol=0)
    # From where the picture was taken, the axes are the camera's own.
    torch.testing.assert_close(
        seen_from(cameras, first, wanted).viewmats[0, 0, :3, :3], torch.eye(3), atol=1e-6, rtol=0
    )


def test_objects_that_are_known_are_retrieved_and_means_are_of_sides(generator: torch.Generator) -> None:
    cameras = ring(16)
    shapes = [random_gaussians(generator, (), 30) for _ in range(3)]
    pictures = torch.stack([render(each, cameras, "white", depth=False).color.clamp(0, 1) for each in shapes])
    options = Options(model="gmae_vit_micro_patch8_16", gaussians=32, steps=2, batch_size=2, views=2)
    found = scores(train(pictures, cameras, options), pictures, pictures, cameras)
    # 100 dB stand for no error.
    assert found["retrieval"][0] == pytest.approx(100.0)
    errors = (pictures - pictures.mean(dim=0)).square().flatten(2).mean(dim=2)
    # Each side is asked for from every other one.
    assert found["mean picture"][0] == pytest.approx(float(-10 * errors.log10().mean()), abs=1e-3)
    assert found["shapes"] == 3 and pictures.shape[1] == SIDES
