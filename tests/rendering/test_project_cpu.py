"""The compiled projection against its specification in float64: every output and every gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from rendering.compiled import relative_error
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats, formula, project, projection
from splatlearn.rendering.backends.cpu import support as cpu_support

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())

MODELS = ("gmae", "orthographic", "pinhole")
ATTRIBUTES = ("means", "scales", "quaternions", "colors", "opacities")
OUTPUTS = ("means2d", "conics", "depths", "colors", "opacities")


def camera_of(model: str, distance: float = 4.0, images: int | None = None) -> Camera:
    """A camera that stands `distance` back and looks askew, so that no entry of its matrix is 0; or one per image."""
    axis = torch.tensor([[0.0, -0.3, 0.2], [0.3, 0.0, -0.4], [-0.2, 0.4, 0.0]])
    views = []
    for turn in range(images or 1):
        view = torch.eye(4)
        view[:3, :3] = torch.linalg.matrix_exp((1.0 + turn) * axis)
        view[:3, 3] = torch.tensor([0.1, -0.2, distance])
        views.append(view)
    view = torch.stack(views) if images else views[0]
    base = {"gmae": Camera.gmae, "orthographic": Camera.orthographic, "pinhole": Camera.pinhole}[model](40, 56)
    return replace(base, viewmats=view)


def results(function: Callable[[Gaussians], Splats], gaussians: Gaussians) -> tuple[list, list]:
    """Outputs and gradients of a random weighting of them that depends on the shapes alone."""
    leaves = gaussians.map(lambda tensor: tensor.detach().clone().requires_grad_())
    splats = function(leaves)
    outputs = [getattr(splats, name) for name in OUTPUTS]
    generator = torch.Generator().manual_seed(5)
    upstream = [torch.randn(each.shape, generator=generator).to(each) for each in outputs]
    gradients = torch.autograd.grad(outputs, [getattr(leaves, name) for name in ATTRIBUTES], upstream)
    return [each.detach() for each in outputs], list(gradients)


def assert_matches(gaussians: Gaussians, camera: Camera, tolerance: float = 1e-5) -> None:
    """Relative L2 error of each tensor, per image: nothing hides behind a larger neighbour."""
    assert projection.takes_compiled(gaussians, camera)
    got = results(lambda each: project(each, camera), gaussians)
    exact = gaussians.to(torch.float64)
    want = results(lambda each: project(each, camera), exact)
    names = [*OUTPUTS, *(f"gradient of {name}" for name in ATTRIBUTES)]
    errors = {
        name: max((relative_error(*pair) for pair in zip(found, true, strict=True)), default=0.0)
        for name, found, true in zip(names, [*got[0], *got[1]], [*want[0], *want[1]], strict=True)
    }
    assert max(errors.values()) <= tolerance, errors


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_matches_the_specification(model: str, count: int, generator: torch.Generator) -> None:
    assert_matches(random_gaussians(generator, (3,), count, channels=5), camera_of(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_camera_for_each_image(model: str, generator: torch.Generator) -> None:
    assert_matches(random_gaussians(generator, (4,), 20), camera_of(model, images=4))


@pytest.mark.parametrize("model", ["gmae", "pinhole"])
def test_clamped_jacobian_off_the_axis(model: str, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 60)
    gaussians.means[..., :2] *= 8
    camera = camera_of(model)
    view = camera.viewmats
    points = gaussians.means @ view[:3, :3].T + view[:3, 3]
    ratio = points[..., 0] / points[..., 2].clamp_min(camera.near) / (camera.width / 2 / camera.fx)
    assert (ratio.abs() > formula.JACOBIAN_LIMIT).sum() > 10 and (ratio.abs() < formula.JACOBIAN_LIMIT).sum() > 10
    in_front = points[..., 2] > 0.5
    moved = torch.where(in_front.unsqueeze(-1), gaussians.means, torch.tensor([0.1, 0.2, 0.3]))
    assert_matches(replace(gaussians, means=moved), camera)


@pytest.mark.parametrize("model", MODELS)
def test_nearer_than_the_near_plane(model: str, generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (2,), 40), replace(camera_of(model, 0.0), near=0.25)
    hidden = project(gaussians, camera).opacities == 0
    assert 10 < hidden.sum() < 70
    assert_matches(gaussians, camera)


@pytest.mark.parametrize("model", MODELS)
def test_thin_and_flat(model: str, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 30)
    gaussians.scales[:, :10, 0] = 1e-6
    gaussians.scales[:, 10:20, 1:] = 1e-6
    gaussians.scales[:, 20:] = 1e-6
    assert_matches(gaussians, camera_of(model))


@pytest.mark.parametrize("length", [1e-12, 1e-3, 1.0, 1e3, 1e12])
def test_quaternions_of_any_length(length: float, generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 30)
    assert_matches(replace(gaussians, quaternions=length * gaussians.quaternions), camera_of("gmae"))


def test_zero_quaternions_are_points_without_a_gradient(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (1,), 4)
    gaussians.quaternions.zero_()
    outputs, gradients = results(lambda each: project(each, camera_of("gmae")), gaussians)
    torch.testing.assert_close(outputs[1], torch.tensor([1 / formula.EPS2D, 0.0, 1 / formula.EPS2D]).expand(1, 4, 3))
    assert not gradients[ATTRIBUTES.index("quaternions")].any() and not gradients[ATTRIBUTES.index("scales")].any()


def test_equal_depths_keep_their_order(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 200)
    gaussians.means[..., 2] = torch.randint(-2, 3, (2, 200), generator=generator) / 2
    gaussians.means[:, ::7, 2] = -0.0
    assert_matches(gaussians, Camera.gmae(32, 32))
    flat = replace(Camera.orthographic(32, 32, 0.0), near=1e-3)
    want = gaussians.means[..., 2].argsort(dim=1, stable=True)
    assert torch.equal(
        project(gaussians, flat).colors, gaussians.fixed_colors().gather(1, want[..., None].expand(-1, -1, 3))
    )


def test_unbounded_depths_lie_at_the_ends_and_nan_last(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (1,), 6)
    for place, value in enumerate([math.nan, math.inf, 0.5, -math.inf, -math.nan, -0.5]):
        gaussians.means[0, place, 2] = value
    splats = project(gaussians, Camera.orthographic(8, 8, 0.0))
    assert torch.equal(splats.colors[0], gaussians.fixed_colors()[0, [3, 5, 2, 1, 0, 4]])
    assert splats.depths[0, :4].tolist() == [-math.inf, -0.5, 0.5, math.inf] and splats.depths[0, 4:].isnan().all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["means", "scales", "quaternions"])
def test_not_finite_where_the_specification_is_not(
    model: str, bad: float, name: str, generator: torch.Generator
) -> None:
    gaussians = random_gaussians(generator, (1,), 1)
    getattr(gaussians, name)[0, 0, 1] = bad
    camera = camera_of(model)
    for got, want in zip(project_outputs(gaussians, camera), specification(gaussians, camera), strict=True):
        torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-4, atol=1e-4)


def project_outputs(gaussians: Gaussians, camera: Camera) -> list[torch.Tensor]:
    return [getattr(project(gaussians, camera), name) for name in OUTPUTS]


def specification(gaussians: Gaussians, camera: Camera) -> list[torch.Tensor]:
    """The readable projection in float32: a camera with a gradient is projected by it."""
    view = camera.viewmats.clone().requires_grad_()
    return [each.detach() for each in project_outputs(gaussians, replace(camera, viewmats=view))]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("large", [1e-30, 1e-18, 1e-8, 1e4, 1e8, 1e15, 1e30])
def test_as_finite_as_the_specification_at_extremes(model: str, large: float, generator: torch.Generator) -> None:
    camera = camera_of(model)
    with_gradient = replace(camera, viewmats=camera.viewmats.clone().requires_grad_())
    for name in ("means", "scales", "quaternions"):
        gaussians = random_gaussians(generator, (1,), 12)
        getattr(gaussians, name).mul_(large)
        assert not projection.takes_compiled(gaussians, with_gradient)
        got = results(lambda each: project(each, camera), gaussians)
        want = results(lambda each: project(each, with_gradient), gaussians)
        for found, true in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True):
            assert found.isfinite().sum() >= true.isfinite().sum(), name


def test_inputs_that_are_not_contiguous(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (3,), 15)
    strided = gaussians.map(lambda tensor: tensor.transpose(0, 1).contiguous().transpose(0, 1))
    assert not strided.means.is_contiguous()
    camera = camera_of("pinhole")
    turned = replace(camera, viewmats=camera.viewmats.T.contiguous().T)
    want = results(lambda each: project(each, camera), gaussians)
    got = results(lambda each: project(each, turned), strided)
    assert all(torch.equal(*pair) for pair in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True))


def test_bit_identical_at_any_number_of_threads(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (7,), 50), camera_of("gmae")
    before, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            outputs, gradients = results(lambda each: project(each, camera), gaussians)
            found.append([*outputs, *gradients])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for run in found[1:] for one, other in zip(found[0], run, strict=True))


def test_gradients_of_some_outputs_to_some_inputs(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator), camera_of("gmae")
    gaussians.means.requires_grad_()
    project(gaussians, camera).depths.sum().backward()
    assert gaussians.means.grad is not None
    torch.testing.assert_close(gaussians.means.grad, camera.viewmats[2, :3].expand_as(gaussians.means))


def test_a_camera_with_a_gradient_takes_the_specification(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator), camera_of("pinhole")
    view = camera.viewmats.clone().requires_grad_()
    splats = project(gaussians, replace(camera, viewmats=view))
    (gradient,) = torch.autograd.grad(splats.means2d.sum(), view)
    assert gradient[:3].abs().min() > 0


def test_without_the_kernel_the_specification(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, camera = random_gaussians(generator), camera_of("gmae")
    compiled = project_outputs(gaussians, camera)
    monkeypatch.setattr(cpu_support, "_native", None)
    assert not projection.takes_compiled(gaussians, camera)
    for got, want in zip(compiled, project_outputs(gaussians, camera), strict=True):
        torch.testing.assert_close(got, want)


def test_opcheck(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 5).map(lambda tensor: tensor.requires_grad_())
    tensors = [getattr(gaussians, name) for name in ATTRIBUTES]
    lens = (20.0, 20.0, 16.0, 16.0, 0.01, 1.0, 1.0)
    inputs = (*tensors, camera_of("gmae").viewmats[None], "gmae", lens)
    torch.library.opcheck(torch.ops.splatlearn.project.default, inputs)
    *outputs, order = torch.ops.splatlearn.project(*inputs)
    saved = [*(each.detach() for each in (*tensors[:3], tensors[4])), inputs[5], order]
    torch.library.opcheck(
        torch.ops.splatlearn.project_backward.default, (saved, [each.detach() for each in outputs], "gmae", lens)
    )
    assert torch.equal(order.sort(dim=1).values, torch.arange(5, dtype=torch.int32).expand(2, 5))
