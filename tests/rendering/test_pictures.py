from dataclasses import replace

import pytest
import torch

from rendering.finite_differences import assert_gradients
from scenes import ATTRIBUTES, gaussians_of, random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import available_backends, render


@pytest.mark.parametrize("model", ["gmae", "pinhole", "orthographic"])
def test_gradients_through_camera_and_compositing(model: str) -> None:
    generator = torch.Generator().manual_seed(3)
    gaussians = random_gaussians(generator, (2,), 4, dtype=torch.float64)
    # Wide Gaussians with distinct depths: neither the skip threshold nor the order jumps under finite differences.
    gaussians = replace(gaussians, means=gaussians.means * 0.5, scales=gaussians.scales + 2.0)
    view = torch.eye(4, dtype=torch.float64)
    view[2, 3] = 6.0
    camera = {
        "gmae": Camera.gmae(5, 6),
        "orthographic": Camera.orthographic(5, 6),
        "pinhole": Camera.pinhole(5, 6, viewmats=view),
    }[model]

    def function(*tensors):
        rendering = render(gaussians_of(tensors), camera, backend="torch")
        assert rendering.depth is not None
        return rendering.color, rendering.alpha, rendering.depth

    inputs = [getattr(gaussians, name) for name in ATTRIBUTES]
    assert_gradients(function, inputs, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_swapping_the_depths_of_two_gaussians_swaps_which_is_seen() -> None:
    means = torch.tensor([[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]])
    colors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    shared = (torch.full((2, 3), 1.0), torch.tensor([[1.0, 0, 0, 0]] * 2), colors, torch.full((2,), 0.95))
    camera = Camera.gmae(32, 32)
    red = render(gaussians_of([means, *shared]), camera).color[:, 16, 16]
    blue = render(gaussians_of([means * torch.tensor([1, 1, -1]), *shared]), camera).color[:, 16, 16]
    assert red[0] > 0.9 and red[2] < 0.1
    assert blue[2] > 0.9 and blue[0] < 0.1


def test_any_leading_batch_shape(generator: torch.Generator) -> None:
    camera = Camera.gmae(6, 7)
    gaussians = random_gaussians(generator, (2, 3), 5)
    whole = render(gaussians, camera)
    assert whole.color.shape == (2, 3, 3, 6, 7) and whole.alpha.shape == (2, 3, 6, 7)
    single = render(gaussians[1][2], camera)
    assert single.color.shape == (3, 6, 7)
    torch.testing.assert_close(single.color, whole.color[1, 2], atol=1e-6, rtol=0)
    assert single.depth is not None and whole.depth is not None
    torch.testing.assert_close(single.depth, whole.depth[1, 2], atol=1e-5, rtol=0)


def test_backgrounds(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 4)
    camera = Camera.gmae(8, 8)
    black = render(gaussians, camera, "black")
    left = 1 - black.alpha
    per_image = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    for background, expected in [
        ("white", torch.ones(2, 3)),
        ((0.5, 0.25, 0.0), torch.tensor([[0.5, 0.25, 0.0]] * 2)),
        (per_image, per_image),
    ]:
        color = render(gaussians, camera, background).color
        torch.testing.assert_close(color, black.color + left[:, None] * expected[:, :, None, None])


def test_depth_is_that_of_what_covers_the_pixel() -> None:
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, 0.25]]),
        scales=torch.ones(1, 3),
        quaternions=torch.tensor([[1.0, 0, 0, 0]]),
        colors=torch.ones(1, 3),
        opacities=torch.tensor([0.3]),
    )
    rendering = render(gaussians, Camera.gmae(64, 64))
    assert rendering.depth is not None
    covered = rendering.alpha > 0
    torch.testing.assert_close(
        rendering.depth[covered], torch.full_like(rendering.depth[covered], 8.25), atol=1e-4, rtol=0
    )
    assert (rendering.depth[~covered] == 0).all() and (~covered).any()
    assert render(gaussians, Camera.gmae(8, 8), depth=False).depth is None


def test_features_of_any_width(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (1,), 4, channels=7)
    rendering = render(gaussians, Camera.gmae(8, 8), background=[0.5] * 7)
    assert rendering.color.shape == (1, 7, 8, 8)


def test_the_torch_backend_works_everywhere() -> None:
    assert available_backends()["torch"] == "ok"


def test_non_finite_gaussians_are_named(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator)
    gaussians.scales[0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="scales: expected finite values, got 1 of 72"):
        render(gaussians, Camera.gmae(8, 8))


def test_float32_inside_autocast(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator)
    plain = render(gaussians, Camera.gmae(8, 8)).color
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = render(gaussians, Camera.gmae(8, 8)).color
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)
