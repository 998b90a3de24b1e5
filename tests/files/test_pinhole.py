from dataclasses import replace

import pytest
import torch

from files.clouds import psnr
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.files import to_pinhole
from splatlearn.rendering import project, render
from splatlearn.rendering.formula import EPS2D


def turned(camera: Camera) -> Camera:
    """The camera moved to look at the origin from another side."""
    view = Camera.look_at((3.0, -2.0, -7.0), (0.0, 0.0, 0.0), 4, 4).viewmats
    return replace(camera, viewmats=view)


CAMERAS = {
    "square": Camera.gmae(48, 48),
    "wide": Camera.gmae(32, 64),
    "tall": Camera.gmae(64, 32),
    "elsewhere": turned(Camera.gmae(48, 40)),
    "orthographic": Camera.orthographic(40, 48),
    "pinhole": Camera.look_at((3.0, -2.0, -7.0), (0.0, 0.0, 0.0), 48, 40),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_a_pinhole_camera_shows_the_same_picture(name: str, generator: torch.Generator) -> None:
    camera = CAMERAS[name]
    gaussians = random_gaussians(generator, (), 50)
    baked, pinhole = to_pinhole(gaussians, camera)
    assert pinhole.model == "pinhole" and pinhole.fx == pinhole.fy
    assert (pinhole.width, pinhole.height) == (camera.width, camera.height)
    before, after = render(gaussians, camera), render(baked, pinhole)
    assert psnr(before.color, after.color) > 100
    assert before.depth is not None and after.depth is not None
    torch.testing.assert_close(before.depth, after.depth, atol=1e-3, rtol=0)


def test_splats_are_the_same_to_rounding(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 40, dtype=torch.float64)
    camera = Camera.gmae(48, 64)
    before = project(gaussians, camera)
    after = project(*to_pinhole(gaussians, camera))
    torch.testing.assert_close(after.means2d, before.means2d)
    torch.testing.assert_close(after.conics, before.conics)
    torch.testing.assert_close(after.depths, before.depths)


def test_positions_at_the_depth_of_the_origin_stay(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (), 20)
    gaussians.means[:, 2] = 0.0
    baked, pinhole = to_pinhole(gaussians, Camera.gmae(32, 32))
    torch.testing.assert_close(baked.means, gaussians.means, atol=1e-6, rtol=0)
    # 8 units back, half the image lies under the tangent 1/8.
    assert pinhole.fx == pytest.approx(8 * 16)
    torch.testing.assert_close(baked.scales.sort(dim=-1).values, gaussians.scales.sort(dim=-1).values / 8)


def test_the_blur_makes_a_larger_picture_an_enlargement(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (), 60), Camera.gmae(48, 48)
    small = render(gaussians, camera).color
    scores = []
    for eps2d in (0.0, EPS2D):
        baked, pinhole = to_pinhole(gaussians, camera, eps2d)
        large = render(baked, pinhole.resized(8 * 48, 8 * 48)).color
        scores.append(psnr(torch.nn.functional.avg_pool2d(large, 8), small))
    assert scores[1] > 40 and scores[1] > scores[0] + 6


@pytest.mark.parametrize("name", CAMERAS)
def test_the_blur_adds_its_variance(name: str, generator: torch.Generator) -> None:
    camera = CAMERAS[name]
    gaussians = random_gaussians(generator, (1,), 30, dtype=torch.float64)
    gaussians.means[..., 2] *= 0.5
    added = 0.7

    def covariance(conics: torch.Tensor) -> torch.Tensor:
        a, b, c = conics.unbind(-1)
        return torch.linalg.inv(torch.stack([a, b, b, c], dim=-1).unflatten(-1, (2, 2)))

    before = covariance(project(gaussians, camera).conics)
    after = covariance(project(*to_pinhole(gaussians, camera, added)).conics)
    expected = added * torch.eye(2, dtype=torch.float64).expand_as(before)
    torch.testing.assert_close(after - before, expected, atol=1e-6, rtol=0)


def test_what_is_behind_the_camera_stays_behind() -> None:
    gaussians = random_gaussians(torch.Generator().manual_seed(1), (), 10)
    gaussians.means[:5, 2] = -9.0
    baked, pinhole = to_pinhole(gaussians, Camera.gmae(24, 24), EPS2D)
    assert (render(baked.select(slice(5)), pinhole).alpha == 0).all()


def test_errors(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (), 3)
    with pytest.raises(ValueError, match="eps2d: expected a variance in px² of 0 or more, got -1"):
        to_pinhole(gaussians, Camera.gmae(8, 8), -1.0)
    view = torch.eye(4)
    with pytest.raises(ValueError, match="gaussians: expected the same colours in every view for a gmae camera"):
        to_pinhole(random_sh(generator, 1), Camera.gmae(8, 8))
    with pytest.raises(ValueError, match="camera: expected the origin in front of it, got the origin at depth 0"):
        to_pinhole(gaussians, replace(Camera.gmae(8, 8), viewmats=view))
    with pytest.raises(ValueError, match=r"camera: expected one matrix \[4, 4\], got \[2, 4, 4\]"):
        to_pinhole(gaussians, replace(Camera.gmae(8, 8), viewmats=view.expand(2, 4, 4)))
