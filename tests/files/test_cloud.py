from dataclasses import replace

import pytest
import torch

from files.clouds import random_cloud
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.geometry.harmonics import C0, harmonics_basis
from splatlearn.files import SplatCloud
from splatlearn.rendering import render


def test_from_gaussians_and_back(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, batch=(), count=9)
    cloud = SplatCloud.from_gaussians(gaussians)
    assert (cloud.count, cloud.degree, cloud.frame) == (9, 0, "RDF")
    for camera in (None, Camera.gmae(8, 8)):
        back = cloud.gaussians(camera)
        for name in ("means", "scales", "quaternions", "opacities"):
            assert torch.equal(getattr(back, name), getattr(gaussians, name))
        torch.testing.assert_close(back.colors, gaussians.colors)


def test_colours_are_seen_from_the_camera(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=6, degree=3)
    eye = torch.tensor([0.5, -2.0, -4.0])
    camera = Camera.look_at(eye.tolist(), (0.0, 0.0, 0.0), 8, 8)
    colors = cloud.gaussians(camera).fixed_colors()
    for index in range(cloud.count):
        basis = harmonics_basis((cloud.means[index] - eye).unsqueeze(0), 3)[0]
        expected = (basis @ cloud.sh[index] + 0.5).clamp_min(0)
        torch.testing.assert_close(colors[index], expected)


def test_an_orthographic_camera_sees_along_its_axis(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=6, degree=1)
    colors = cloud.gaussians(Camera.orthographic(8, 8)).colors
    expected = C0 * cloud.sh[:, 0] + 0.4886025 * cloud.sh[:, 2] + 0.5
    torch.testing.assert_close(colors, expected.clamp_min(0))


def test_several_views_at_once(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=20)
    cameras = [Camera.look_at(eye, (0.0, 0.0, 0.0), 24, 24) for eye in ((0.0, 0.0, -4.0), (3.0, -1.0, 2.0))]
    both = replace(cameras[0], viewmats=torch.stack([camera.viewmats for camera in cameras]))
    together = render(cloud.gaussians(both), both).color
    assert together.shape == (2, 3, 24, 24)
    for image, camera in zip(together, cameras, strict=True):
        torch.testing.assert_close(image, render(cloud.gaussians(camera), camera).color, atol=1e-5, rtol=0)


def test_without_a_camera_colours_are_those_of_degree_0(generator: torch.Generator) -> None:
    cloud = random_cloud(generator)
    expected = (C0 * cloud.sh[:, 0] + 0.5).clamp_min(0)
    torch.testing.assert_close(cloud.gaussians().colors, expected)
    assert (cloud.gaussians().fixed_colors() >= 0).all() and (C0 * cloud.sh[:, 0] + 0.5 >= 0).all()
    dark = replace(cloud, sh=cloud.sh - 5.0)
    assert (dark.gaussians(Camera.gmae(8, 8)).colors == 0).any()


def test_degrees(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=2)
    assert torch.equal(cloud.with_degree(1).sh, cloud.sh[:, :4])
    longer = cloud.with_degree(4)
    assert longer.degree == 4 and torch.equal(longer.with_degree(2).sh, cloud.sh)
    assert (longer.sh[:, 9:] == 0).all()
    with pytest.raises(ValueError, match="degree: expected 0 to 4, got 5"):
        cloud.with_degree(5)


def test_select_and_to(generator: torch.Generator) -> None:
    cloud = replace(random_cloud(generator, count=10, frame="RUB"), antialiased=True)
    kept = cloud.select(cloud.opacities > 0.5).to(torch.float64)
    assert kept.count == int((cloud.opacities > 0.5).sum()) and kept.means.dtype == torch.float64
    assert kept.frame == "RUB" and kept.antialiased


def test_gradients_reach_harmonics(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=10, degree=3)
    harmonics = cloud.sh.clone().requires_grad_()
    camera = Camera.look_at((0.0, 0.0, -4.0), (0.0, 0.0, 0.0), 16, 16)
    render(replace(cloud, sh=harmonics).gaussians(camera), camera).color.sum().backward()
    assert harmonics.grad is not None and (harmonics.grad[:, 15].abs() > 0).any()


@pytest.mark.usefixtures("no_shape_checks")
def test_errors(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=4, degree=1)
    for change, message in [
        ({"means": torch.zeros(4)}, r"means: expected shape \[K, 3\], got \[4\]"),
        ({"scales": torch.ones(5, 3)}, r"scales: expected shape \[4, 3\], got \[5, 3\]"),
        ({"sh": torch.ones(4, 5, 3)}, "sh: expected one of 1, 4, 9, 16, 25 coefficients, got 5"),
        ({"frame": "XYZ"}, "frame: expected where x, y and z point"),
    ]:
        with pytest.raises(ValueError, match=message):
            replace(cloud, **change)
    with pytest.raises(TypeError, match="opacities: expected a floating-point tensor"):
        replace(cloud, opacities=torch.ones(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="gaussians: expected one set"):
        SplatCloud.from_gaussians(random_gaussians(generator, batch=(2,)))
    with pytest.raises(ValueError, match="gaussians: expected 3 colour channels, got 5"):
        SplatCloud.from_gaussians(random_gaussians(generator, batch=(), channels=5))
