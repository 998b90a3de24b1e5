"""Gaussians with harmonics: each is seen in the colour that its harmonics have along the line of view."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import project, render, seen_by

MODELS = ("pinhole", "orthographic", "gmae")
EYE = (0.7, -1.5, -4.0)


def camera_of(model: str, height: int = 9, width: int = 11) -> Camera:
    """A camera of each model at the same place, which looks askew."""
    view = Camera.look_at(EYE, (0.1, 0.2, 0.0), height, width).viewmats
    made = {"pinhole": Camera.pinhole, "orthographic": Camera.orthographic, "gmae": Camera.gmae}[model](height, width)
    return replace(made, viewmats=view)


def several(model: str, *batch: int) -> Camera:
    """Views from all around."""
    generator = torch.Generator().manual_seed(7)
    eyes = torch.nn.functional.normalize(torch.randn(math.prod(batch), 3, generator=generator), dim=-1) * 4.0
    views = [Camera.look_at(eye.tolist(), (0.1, 0.2, 0.0), 9, 11).viewmats for eye in eyes]
    return replace(camera_of(model), viewmats=torch.stack(views).reshape(*batch, 4, 4))


def hand_written(sh: Tensor, direction: Tensor) -> Tensor:
    """The colour of one Gaussian with harmonics [16, 3] in a direction [3], as 3D Gaussian splatting has it."""
    x, y, z = (direction / direction.norm()).tolist()
    c1, c2, c3 = 0.4886025119029199, 1.0925484305920792, 0.5900435899266435
    basis = [
        0.28209479177387814, -c1 * y, c1 * z, -c1 * x,
        c2 * x * y, -c2 * y * z, 0.31539156525252005 * (2 * z * z - x * x - y * y), -c2 * x * z,
        0.5462742152960396 * (x * x - y * y),
        -c3 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y), -c3 * x * (x * x - 3 * y * y),
    ]  # fmt: skip
    return (torch.tensor(basis[: len(sh)], dtype=sh.dtype) @ sh + 0.5).clamp_min(0.0)


def painted(gaussians: Gaussians, camera: Camera) -> Gaussians:
    """The set [K] with the colours that one camera sees, one Gaussian at a time."""
    assert gaussians.sh is not None
    view = camera.viewmats.double()
    eye, axis = -view[:3, :3].T @ view[:3, 3], view[2, :3]
    colors = []
    for mean, sh in zip(gaussians.means.double(), gaussians.sh.double(), strict=True):
        colors.append(hand_written(sh, axis if camera.model == "orthographic" else mean - eye))
    return replace(gaussians, colors=torch.stack(colors).to(gaussians.means), sh=None)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize(("backend", "dtype"), [("auto", torch.float32), ("torch", torch.float64)])
def test_pictures_are_those_of_the_colours_seen(
    model: str, degree: int, backend: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    gaussians, camera = random_sh(generator, degree, (), 9, dtype=dtype), camera_of(model)
    found, wanted = (render(each, camera, "black", backend) for each in (gaussians, painted(gaussians, camera)))
    assert found.depth is not None and wanted.depth is not None
    torch.testing.assert_close(found.color, wanted.color, atol=1e-5, rtol=1e-5)
    assert torch.equal(found.alpha, wanted.alpha) and torch.equal(found.depth, wanted.depth)
    assert found.color.max() > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_several_views_of_each_set(model: str, generator: torch.Generator) -> None:
    sets, cameras = random_sh(generator, 3, (2,), 9), several(model, 2, 3)
    background = torch.rand(2, 3, generator=generator)
    together = render(sets, cameras, background)
    assert together.color.shape == (2, 3, 3, 9, 11)
    for i in range(2):
        for j in range(3):
            alone = render(painted(sets[i], cameras[i][j]), cameras[i][j], background[i])
            torch.testing.assert_close(together.color[i, j], alone.color, atol=1e-5, rtol=0)


@pytest.mark.parametrize("degree", [0, 2])
def test_views_of_one_set_one_view_each_and_one_for_all(degree: int, generator: torch.Generator) -> None:
    sets, cameras = random_sh(generator, degree, (3,), 9), several("pinhole", 3)
    one, each, shared = render(sets[0], cameras), render(sets, cameras), render(sets, cameras[1])
    for j in range(3):
        for found, gaussians, camera in [
            (one, sets[0], cameras[j]),
            (each, sets[j], cameras[j]),
            (shared, sets[j], cameras[1]),
        ]:
            wanted = render(painted(gaussians, camera), camera).color
            torch.testing.assert_close(found.color[j], wanted, atol=1e-5, rtol=0)
    projected = project(sets, cameras)
    wanted = project(seen_by(sets, cameras), cameras)
    assert torch.equal(projected.colors, wanted.colors) and torch.equal(projected.means2d, wanted.means2d)


def test_views_of_one_set_add_their_gradients(generator: torch.Generator) -> None:
    gaussians, cameras = random_sh(generator, 3, (), 9).map(lambda each: each.requires_grad_()), several("pinhole", 3)
    leaves = list(gaussians.tensors().values())

    def gradients(camera: Camera) -> tuple[Tensor, ...]:
        return torch.autograd.grad(render(gaussians, camera).color.square().sum(), leaves)

    together, alone = gradients(cameras), [gradients(cameras[index]) for index in range(3)]
    for found, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(parts).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_finite_differences(model: str) -> None:
    """Also through the direction: to means, and to the camera, whose matrix is moved as a whole."""
    gaussians = random_sh(torch.Generator().manual_seed(3), 3, (2,), 4, dtype=torch.float64)
    # Wide Gaussians with distinct depths: neither the skip threshold nor the order jumps under finite differences.
    gaussians = replace(gaussians, means=gaussians.means * 0.5, scales=gaussians.scales + 2.0)
    camera = camera_of(model, 5, 6)
    tensors = {**gaussians.tensors(), "view": camera.viewmats.double()}

    def function(*values: Tensor) -> tuple[Tensor, Tensor]:
        *parts, view = values
        made = Gaussians.of(dict(zip(gaussians.tensors(), parts, strict=True)))
        found = render(made, replace(camera, viewmats=view), "black", "torch")
        assert found.depth is not None
        return found.color, found.depth

    leaves = [each.clone().requires_grad_() for each in tensors.values()]
    assert torch.autograd.gradcheck(function, leaves, atol=1e-6, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("degree", [1, 4])
def test_means_are_moved_by_their_colours(model: str, degree: int, generator: torch.Generator) -> None:
    """The gradient through the direction alone, which an orthographic camera does not have."""
    gaussians, camera = random_sh(generator, degree, (), 9, dtype=torch.float64), camera_of(model)
    means = gaussians.means.clone().requires_grad_()
    seen = seen_by(replace(gaussians, means=means), camera).fixed_colors()
    weights = torch.randn(seen.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((seen * weights).sum() + 0.0 * means.sum(), means)
    assert bool(gradient.any()) == (model != "orthographic")
    for index, axis in [(0, 0), (4, 1), (8, 2)]:
        step = torch.zeros_like(means)
        step[index, axis] = 1e-6
        ends = [seen_by(replace(gaussians, means=means.detach() + s * step), camera).fixed_colors() for s in (1, -1)]
        slope = ((ends[0] - ends[1]) * weights).sum() / 2e-6
        torch.testing.assert_close(gradient[index, axis], slope, atol=1e-6, rtol=1e-6)


def test_compiled_gradients_are_those_of_the_specification(generator: torch.Generator) -> None:
    gaussians, cameras = random_sh(generator, 3, (2,), 20), several("pinhole", 2, 3)
    weights = torch.randn(2, 3, 3, 9, 11, generator=generator)

    def gradients(dtype: torch.dtype) -> list[Tensor]:
        leaves = gaussians.to(dtype).map(lambda each: each.clone().requires_grad_())
        loss = (render(leaves, cameras).color * weights.to(dtype)).sum()
        return list(torch.autograd.grad(loss, list(leaves.tensors().values())))

    for single, double in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert (single.double() - double).norm() <= 1e-3 * double.norm()


def test_a_gaussian_at_the_eye_has_no_direction(generator: torch.Generator) -> None:
    gaussians, camera = random_sh(generator, 3, (), 4), camera_of("pinhole")
    gaussians.means[1] = camera.centers
    leaves = gaussians.map(lambda each: each.requires_grad_())
    found = render(leaves, camera)
    found.color.square().sum().backward()
    assert found.color.isfinite().all()
    assert leaves.means.grad is not None and leaves.means.grad.isfinite().all() and not leaves.means.grad[1].any()


def test_half_precision_and_autocast_are_computed_in_float32(generator: torch.Generator) -> None:
    gaussians, camera = random_sh(generator, 3), camera_of("pinhole")
    plain = render(gaussians, camera).color
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(render(gaussians, camera).color, plain)
    half = gaussians.to(torch.bfloat16)
    found = render(half, camera).color
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, render(half.to(torch.float32), camera).color)


def test_colours_are_the_same_at_any_number_of_threads(generator: torch.Generator) -> None:
    gaussians, cameras = random_sh(generator, 3, (), 5000), several("pinhole", 12)
    before, found = torch.get_num_threads(), []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(seen_by(gaussians, cameras).fixed_colors())
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_sets_with_colours_come_back_as_they_are(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator)
    assert seen_by(gaussians, several("pinhole", 2, 3)) is gaussians


def test_errors(generator: torch.Generator) -> None:
    gaussians = random_sh(generator, 2)
    gaussians.tensors()["sh"][0, 0, 3, 1] = float("nan")
    with pytest.raises(ValueError, match="sh: expected finite values, got 1 of 648"):
        render(gaussians, camera_of("pinhole"))
    render(gaussians, camera_of("pinhole"), check=False)
    with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[2, 4, 4\] or \[2, V, 4, 4\]"):
        seen_by(gaussians, several("pinhole", 3))
    with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[2, 4, 4\] for gaussians"):
        project(gaussians, several("pinhole", 2, 3))
