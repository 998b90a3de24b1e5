"""Derivatives beyond the first, forward mode and function transforms: right, or refused with the way on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from rendering import gpu
from scenes import gaussians_of, random_gaussians, random_splats
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats, composite, project, render
from splatlearn.rendering.backends.cpu import support as cpu_support

NAMES = ("means", "scales", "quaternions", "colors", "opacities")
REFUSAL = r"cannot be used here: it has first derivatives by reverse mode alone; the specification, backend='torch'"
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
"""PyTorch itself calls it with the first forward-mode derivative."""
COMPILED = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


def camera_of(model: str) -> Camera:
    view = torch.eye(4, dtype=torch.float64)
    view[2, 3] = 6.0
    pinhole = Camera.pinhole(4, 5, viewmats=view)
    return {"gmae": Camera.gmae(4, 5), "orthographic": Camera.orthographic(4, 5), "pinhole": pinhole}[model]


def inputs(dtype: torch.dtype = torch.float64, count: int = 3) -> list[Tensor]:
    """Wide Gaussians with distinct depths: α is above the skip threshold everywhere, and the order holds."""
    made = random_gaussians(torch.Generator().manual_seed(3), (2,), count, dtype=dtype)
    return [made.means * 0.5, made.scales + 2.0, made.quaternions, made.fixed_colors(), made.opacities]


def picture(camera: Camera, backend: str = "torch"):
    def function(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rendering = render(gaussians_of(tensors), camera, backend=backend)
        assert rendering.depth is not None
        return rendering.color, rendering.alpha, rendering.depth

    return function


def number(camera: Camera, backend: str = "torch"):
    def function(*tensors: Tensor) -> Tensor:
        return sum((part.square().sum() for part in picture(camera, backend)(*tensors)), torch.zeros(()))

    return function


def directions(tensors: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each) for each in tensors]


def mean_colors(tensors: list[Tensor], colors: Tensor) -> Tensor:
    """[3], of pictures in which other colours take the place of the tensors' own."""
    means, scales, quaternions, _, opacities = tensors
    return render(gaussians_of([means, scales, quaternions, colors, opacities]), camera_of("gmae")).color.mean(
        dim=(0, 2, 3)
    )


def second_derivative(function, tensors: list[Tensor], along: list[Tensor]) -> Tensor:
    """Of a number, twice along a direction, by reverse mode over reverse mode."""
    leaves = [each.clone().requires_grad_() for each in tensors]
    slopes = torch.autograd.grad(function(*leaves), leaves, create_graph=True)
    slope = torch.stack([(one * other).sum() for one, other in zip(slopes, along, strict=True)]).sum()
    again = torch.autograd.grad(slope, leaves)
    return torch.stack([(one * other).sum() for one, other in zip(again, along, strict=True)]).sum()


@pytest.mark.parametrize("model", ["gmae", "pinhole", "orthographic"])
def test_second_derivatives_of_the_specification(model: str) -> None:
    leaves = [each.requires_grad_() for each in inputs()]
    assert torch.autograd.gradgradcheck(picture(camera_of(model)), leaves, atol=1e-5, rtol=1e-3, fast_mode=True)


def test_second_derivatives_of_compositing_with_clamped_and_skipped_splats(generator: torch.Generator) -> None:
    splats = random_splats(generator, (5, 6), batch=1, count=5, sigma=(1.0, 4.0))
    background = torch.rand(1, 3, generator=generator, dtype=torch.float64)
    opaque = splats.opacities.clone()
    opaque[0, 1] = 1.3
    leaves = [splats.means2d, splats.conics, opaque, splats.colors, background]

    def function(means2d, conics, opacities, colors, behind):
        return composite(Splats(means2d, conics, splats.depths, colors, opacities), 5, 6, behind, backend="torch")

    assert torch.autograd.gradgradcheck(function, [each.clone().requires_grad_() for each in leaves])


@pytest.mark.parametrize("model", ["gmae", "pinhole", "orthographic"])
def test_forward_mode_of_the_specification(model: str) -> None:
    leaves = [each.requires_grad_() for each in inputs()]
    function = picture(camera_of(model))
    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True, check_backward_ad=False, fast_mode=True)


def test_forward_mode_and_reverse_over_reverse_of_harmonics() -> None:
    plain, camera = inputs(), camera_of("pinhole")
    harmonics = torch.randn(2, 3, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaves = [plain[0].requires_grad_(), harmonics.requires_grad_()]

    def function(means: Tensor, sh: Tensor) -> Tensor:
        return render(Gaussians(means, plain[1], plain[2], plain[4], sh=sh), camera, backend="torch").color

    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True, check_backward_ad=False, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def test_a_tangent_of_the_camera_or_the_background() -> None:
    tensors, camera = inputs(), camera_of("pinhole")
    view, step = camera.viewmats, torch.zeros(4, 4, dtype=torch.float64)
    step[0, 3], step[2, 3] = 1.0, -0.5
    behind, change = torch.full((3,), 0.4, dtype=torch.float64), torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)

    def seen(view: Tensor, behind: Tensor) -> Tensor:
        return render(gaussians_of(tensors), Camera.pinhole(4, 5, viewmats=view), behind).color

    with forward_ad.dual_level():
        dual = seen(forward_ad.make_dual(view, step), forward_ad.make_dual(behind, change))
        tangent = forward_ad.unpack_dual(dual).tangent
    forward, back = seen(view + 1e-6 * step, behind + 1e-6 * change), seen(view - 1e-6 * step, behind - 1e-6 * change)
    torch.testing.assert_close(tangent, (forward - back) / 2e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_function_transforms_agree_with_autograd(dtype: torch.dtype, tolerance: float) -> None:
    # "auto": with a transform in force it takes the specification.
    tensors, camera = inputs(dtype), camera_of("gmae")
    along = directions(tensors)
    function, exact = number(camera, "auto"), number(camera, "torch")
    leaves = [each.clone().requires_grad_() for each in tensors]
    slopes = torch.autograd.grad(exact(*leaves), leaves)
    slope = sum(float((one * other).sum()) for one, other in zip(slopes, along, strict=True))
    curvature = float(second_derivative(exact, tensors, along))

    every = tuple(range(5))
    found = torch.func.grad(function, argnums=every)(*tensors)
    for one, other in zip(found, slopes, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
    made = torch.func.jvp(function, tuple(tensors), tuple(along))
    assert float(made[0]) == pytest.approx(float(exact(*tensors)), rel=tolerance)
    assert float(made[1]) == pytest.approx(slope, rel=tolerance)
    over = torch.func.jvp(torch.func.grad(function, argnums=every), tuple(tensors), tuple(along))[1]
    twice = sum(float((one * other).sum()) for one, other in zip(over, along, strict=True))
    assert twice == pytest.approx(curvature, rel=tolerance)
    stacked = [torch.stack([each, 1.1 * each]) for each in tensors]
    each = torch.stack([exact(*(part[i] for part in stacked)) for i in range(2)])
    torch.testing.assert_close(torch.vmap(function)(*stacked), each, rtol=tolerance, atol=0)


def test_the_hessian_is_that_of_reverse_mode() -> None:
    tensors, function = inputs(count=2), number(camera_of("gmae"), "auto")

    def of_opacities(opacities: Tensor) -> Tensor:
        return function(*tensors[:4], opacities)

    found = torch.func.hessian(of_opacities)(tensors[4])
    wanted = torch.autograd.functional.hessian(of_opacities, tensors[4])
    assert isinstance(wanted, Tensor) and float(wanted.abs().max()) > 1e-3
    torch.testing.assert_close(found, wanted)


def test_many_gradients_at_once_of_one_graph() -> None:
    tensors = inputs()
    colors = tensors[3].clone().requires_grad_()
    means = render(gaussians_of([*tensors[:3], colors, tensors[4]]), camera_of("gmae")).color.mean(dim=(0, 2, 3))
    rows = torch.eye(3, dtype=torch.float64)
    found = torch.vmap(lambda row: torch.autograd.grad(means, colors, row, retain_graph=True)[0])(rows)
    wanted = torch.stack([torch.autograd.grad(means, colors, row, retain_graph=True)[0] for row in rows])
    torch.testing.assert_close(found, wanted)
    with pytest.raises(BackendError, match=r"composite: expected one gradient at a time, .*; use torch.func.jacrev"):
        torch.autograd.grad(means, colors, rows, is_grads_batched=True)


@COMPILED
class TestCompiledRefuses:
    def test_second_derivatives(self) -> None:
        tensors = inputs(torch.float32)
        for backend in ("auto", "cpu"):
            with pytest.raises(BackendError, match=REFUSAL):
                second_derivative(number(camera_of("gmae"), backend), tensors, directions(tensors))

    def test_second_derivatives_of_each_step(self, generator: torch.Generator) -> None:
        tensors = [each.requires_grad_() for each in inputs(torch.float32)]
        means2d = project(gaussians_of(tensors), camera_of("gmae")).means2d.square().sum()
        (slope,) = torch.autograd.grad(means2d, tensors[0], create_graph=True)
        with pytest.raises(BackendError, match=f"project: the compiled renderer {REFUSAL}"):
            slope.sum().backward()
        splats = random_splats(generator, (4, 5), dtype=torch.float32)
        colors = splats.colors.requires_grad_()
        (slope,) = torch.autograd.grad(composite(splats, 4, 5)[0].square().sum(), colors, create_graph=True)
        with pytest.raises(BackendError, match=f"composite: the compiled renderer {REFUSAL}"):
            slope.sum().backward()

    def test_a_graph_of_the_first_derivatives_costs_nothing_else(self) -> None:
        leaves = [each.requires_grad_() for each in inputs(torch.float32)]
        total = number(camera_of("gmae"), "cpu")(*leaves)
        plain = torch.autograd.grad(total, leaves, retain_graph=True)
        recorded = torch.autograd.grad(total, leaves, create_graph=True)
        assert all(torch.equal(*pair) for pair in zip(plain, recorded, strict=True))

    def test_the_named_backend_under_a_transform(self) -> None:
        tensors, camera = inputs(torch.float32), camera_of("gmae")
        function = number(camera, "cpu")
        with pytest.raises(BackendError, match=f"backend: 'cpu' {REFUSAL}"):
            torch.func.jvp(function, tuple(tensors), tuple(directions(tensors)))
        with pytest.raises(BackendError, match=f"backend: 'cpu' {REFUSAL}"):
            torch.vmap(function)(*(each.unsqueeze(0) for each in tensors))
        with forward_ad.dual_level():
            # What has no tangent is rendered as ever.
            assert torch.isfinite(function(*tensors))
            tensors[4] = forward_ad.make_dual(tensors[4], torch.ones_like(tensors[4]))
            with pytest.raises(BackendError, match=f"backend: 'cpu' {REFUSAL}"):
                function(*tensors)

    def test_tangents_and_batches_that_come_with_the_gradient(self) -> None:
        tensors = inputs(torch.float32)
        colors = tensors[3].clone().requires_grad_()
        means = render(gaussians_of([*tensors[:3], colors, tensors[4]]), camera_of("gmae")).color.mean(dim=(0, 2, 3))
        with forward_ad.dual_level():
            upstream = forward_ad.make_dual(torch.ones(3), torch.ones(3))
            with pytest.raises(BackendError, match=REFUSAL):
                torch.autograd.grad(means, colors, upstream, retain_graph=True)
        with pytest.raises(BackendError, match=REFUSAL):
            torch.vmap(lambda row: torch.autograd.grad(means, colors, row, retain_graph=True)[0])(torch.eye(3))


@pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS)
def test_the_gpu_kernels_refuse_second_derivatives() -> None:
    with gpu.ready():
        tensors = [each.to(gpu.DEVICE) for each in inputs(torch.float32, 2)]
        along = [each.to(gpu.DEVICE) for each in directions(tensors)]
        with pytest.raises(BackendError, match=REFUSAL):
            second_derivative(number(camera_of("gmae"), "triton"), tensors, along)
        with pytest.raises(BackendError, match=f"backend: 'triton' {REFUSAL}"):
            torch.func.jvp(number(camera_of("gmae"), "triton"), tuple(tensors), tuple(along))
