"""The GPU projection against its specification in float64, and where it takes its inputs from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from rendering import gpu
from rendering.test_project_cpu import ATTRIBUTES, MODELS, OUTPUTS, assert_matches, camera_of, results
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import formula, project, projection

pytestmark = pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS)


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    with gpu.ready():
        yield


def gaussians_of(generator: torch.Generator, batch: int = 2, count: int = 12, channels: int = 3) -> Gaussians:
    return random_gaussians(generator, (batch,), count, channels).to(gpu.DEVICE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [0, 1, 300])
def test_matches_the_specification(model: str, count: int, generator: torch.Generator) -> None:
    assert_matches(gaussians_of(generator, 3, count, channels=5), camera_of(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_camera_for_each_image(model: str, generator: torch.Generator) -> None:
    assert_matches(gaussians_of(generator, 4, 20), camera_of(model, images=4))


@pytest.mark.parametrize("model", ["gmae", "pinhole"])
def test_clamped_jacobian_off_the_axis(model: str, generator: torch.Generator) -> None:
    gaussians, camera = gaussians_of(generator, 2, 60), camera_of(model)
    gaussians.means[..., :2] *= 8
    view = camera.viewmats.to(gpu.DEVICE)
    points = gaussians.means @ view[:3, :3].T + view[:3, 3]
    ratio = points[..., 0] / points[..., 2].clamp_min(camera.near) / (camera.width / 2 / camera.fx)
    assert (ratio.abs() > formula.JACOBIAN_LIMIT).sum() > 10 and (ratio.abs() < formula.JACOBIAN_LIMIT).sum() > 10
    moved = torch.where(points[..., 2:] > 0.5, gaussians.means, gaussians.means.new_tensor([0.1, 0.2, 0.3]))
    assert_matches(replace(gaussians, means=moved), camera)


@pytest.mark.parametrize("model", MODELS)
def test_nearer_than_the_near_plane(model: str, generator: torch.Generator) -> None:
    gaussians, camera = gaussians_of(generator, 2, 40), replace(camera_of(model, 0.0), near=0.25)
    assert 10 < (project(gaussians, camera).opacities == 0).sum() < 70
    assert_matches(gaussians, camera)


@pytest.mark.parametrize("length", [1e-12, 1e-3, 1e3, 1e12])
def test_thin_gaussians_and_quaternions_of_any_length(length: float, generator: torch.Generator) -> None:
    gaussians = gaussians_of(generator, 2, 30)
    gaussians.scales[:, :10, 0] = 1e-6
    gaussians.scales[:, 10:20, 1:] = 1e-6
    assert_matches(replace(gaussians, quaternions=length * gaussians.quaternions), camera_of("gmae"))


def test_zero_quaternions_are_points_without_a_gradient(generator: torch.Generator) -> None:
    gaussians = gaussians_of(generator, 1, 4)
    gaussians.quaternions.zero_()
    outputs, gradients = results(lambda each: project(each, camera_of("gmae")), gaussians)
    point = torch.tensor([1 / formula.EPS2D, 0.0, 1 / formula.EPS2D])
    torch.testing.assert_close(outputs[1].cpu(), point.expand(1, 4, 3))
    assert not gradients[ATTRIBUTES.index("quaternions")].any() and not gradients[ATTRIBUTES.index("scales")].any()


def test_equal_depths_keep_their_order_and_nan_comes_last(generator: torch.Generator) -> None:
    gaussians = gaussians_of(generator, 2, 100)
    gaussians.means[..., 2] = torch.randint(-2, 3, (2, 100), generator=generator).to(gpu.DEVICE) / 2
    gaussians.means[:, ::7, 2] = -0.0
    assert_matches(gaussians, Camera.gmae(32, 32))
    gaussians.means[:, 3, 2] = float("nan")
    last = project(gaussians, Camera.gmae(32, 32)).colors[:, -1]
    assert torch.equal(last, gaussians.fixed_colors()[:, 3])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("large", [1e-30, 1e30, *(pytest.param(each, marks=pytest.mark.large) for each in (1e-8, 1e8))])
def test_as_finite_as_the_specification_at_extremes(model: str, large: float, generator: torch.Generator) -> None:
    camera = camera_of(model)
    with_gradient = replace(camera, viewmats=camera.viewmats.clone().requires_grad_())
    for name in ("means", "scales", "quaternions"):
        gaussians = gaussians_of(generator, 1)
        getattr(gaussians, name).mul_(large)
        assert not projection.takes_compiled(gaussians, with_gradient)
        got = results(lambda each: project(each, camera), gaussians)
        want = results(lambda each: project(each, with_gradient), gaussians)
        for found, true in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True):
            assert found.isfinite().sum() >= true.isfinite().sum(), name


def test_a_camera_where_the_gaussians_are_gives_the_same(generator: torch.Generator) -> None:
    gaussians, camera = gaussians_of(generator), camera_of("pinhole")
    there = replace(camera, viewmats=camera.viewmats.to(gpu.DEVICE))
    one, other = project(gaussians, camera), project(gaussians, there)
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in OUTPUTS)


def test_the_matrix_of_a_camera_on_the_host_is_written_by_a_kernel(generator: torch.Generator) -> None:
    from splatlearn.rendering.backends.triton import project_kernels

    view, written = torch.randn(4, 4, generator=generator), torch.zeros(16, device=gpu.DEVICE)
    project_kernels.write_view[(1,)](written, *view.flatten().tolist()[:12])
    assert torch.equal(written[:12].cpu(), view.flatten()[:12]) and not written[12:].any()
