"""The filter "mip": opacities that make up for the blur, by independent arithmetic in float64, in every backend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rendering.compiled import CPU, Compiled, relative_error
from rendering.finite_differences import assert_gradients
from rendering.many import camera, free, free_camera, many
from rendering.thresholds import clear_of_thresholds
from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import composite, formula, project, projection, render, scenes
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.compat.gsplat import rasterization

MODELS = ("pinhole", "orthographic", "gmae")
ATTRIBUTES = ("means", "scales", "quaternions", "colors", "opacities")
SPLATS = ("means2d", "conics", "depths", "colors", "opacities")
needs_kernels = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


@pytest.fixture(params=CPU)
def instructions(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    with request.param.active():
        yield request.param


def set_of(generator: torch.Generator, count: int = 60) -> Gaussians:
    """One set [1, K] with colours, of every size from a hundredth of a pixel on."""
    made = many(generator, count, degree=None)
    scales = made.scales * 10.0 ** torch.linspace(-1.5, 0.5, count)[:, None]
    return replace(made, scales=scales).reshape_batch(1)


def compensation_by_hand(gaussians: Gaussians, seen_by: Camera) -> Tensor:
    """√(det C / det (C + EPS2D · I)) of each Gaussian [K], with determinants by LU."""
    view = seen_by.viewmats.double()
    x, y, z = ((gaussians.means[0].double() @ view[:3, :3].mT) + view[:3, 3]).unbind(-1)
    z = torch.where(z >= seen_by.near, z, seen_by.near)
    jacobian = seen_by.projection.jacobian(x, y, z, seen_by.lens(z), formula.JACOBIAN_LIMIT)
    axes = view[:3, :3] @ quaternions_to_matrices(gaussians.quaternions[0].double())
    rows = jacobian @ (axes * gaussians.scales[0].double().unsqueeze(-2))
    covariance = rows @ rows.mT
    after = covariance + formula.EPS2D * torch.eye(2, dtype=torch.float64)
    return (covariance.det() / after.det()).clamp_min(formula.COMPENSATION_MIN).sqrt()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backend", ["torch", pytest.param("cpu", marks=needs_kernels)])
def test_opacities_are_multiplied_by_the_root_of_the_ratio_of_determinants(
    model: str, backend: str, generator: torch.Generator
) -> None:
    gaussians, seen_by = set_of(generator), camera((33, 40), model)
    if backend == "torch":
        gaussians = gaussians.to(torch.float64)
    point, mip = (project(gaussians, seen_by, backend, filter) for filter in ("point", "mip"))
    order = project(
        replace(gaussians, colors=torch.arange(gaussians.count).to(gaussians.means)[None, :, None]), seen_by
    )
    factors = compensation_by_hand(gaussians, seen_by)[order.colors[0, :, 0].long()]
    expected = point.opacities[0].double() * factors
    torch.testing.assert_close(mip.opacities[0].double(), expected, rtol=2e-5, atol=1e-6)
    assert factors.min() < 0.05 and factors.max() > 0.9
    for name in SPLATS[:-1]:
        assert torch.equal(getattr(point, name), getattr(mip, name)), name


@pytest.mark.parametrize("sigma", [0.3, 0.6, 1.0, 3.0])
def test_a_splat_shows_as_much_at_every_resolution(sigma: float) -> None:
    """The sum of α over pixels is 2π·opacity·σ², which the filter "point" exceeds by its variance."""
    one = Gaussians(
        means=torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64),
        scales=torch.full((1, 3), sigma, dtype=torch.float64),
        quaternions=torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
        opacities=torch.full((1,), 0.9, dtype=torch.float64),
        colors=torch.ones(1, 3, dtype=torch.float64),
    )
    seen_by = Camera(41, 41, 1.0, 1.0, 20.5, 20.5, "orthographic", torch.eye(4, dtype=torch.float64))
    expected = 2 * math.pi * 0.9 * sigma**2
    mip, point = (float(render(one, seen_by, "black", "torch", filter=each).alpha.sum()) for each in ("mip", "point"))
    # What is below ALPHA_MIN is left out: up to 5 % of a faint splat.
    assert mip == pytest.approx(expected, rel=0.05)
    assert point == pytest.approx(expected * (1 + formula.EPS2D / sigma**2), rel=0.03)


@pytest.mark.parametrize("model", [*MODELS, "panorama"])
def test_gradients_of_the_specification_are_finite_differences(model: str, generator: torch.Generator) -> None:
    count = 4
    gaussians = many(generator, count + 7, degree=None).select(slice(7, 7 + count)).to(torch.float64)
    gaussians = replace(gaussians, scales=0.1 + gaussians.scales)
    view = camera((6, 7)).viewmats.double()
    seen_by = Camera.panorama(6, 12, view) if model == "panorama" else replace(camera((6, 7), model), viewmats=view)

    def picture(*tensors: Tensor) -> Tensor:
        *parts, matrix = tensors
        made = render(
            Gaussians(**dict(zip(ATTRIBUTES, parts, strict=True))), replace(seen_by, viewmats=matrix), "black", "torch",
            filter="mip",
        )  # fmt: skip
        return torch.cat([made.color, made.alpha[None]])

    tensors = [getattr(gaussians, name) for name in ATTRIBUTES]
    assert_gradients(picture, [*tensors, view], atol=1e-6, rtol=1e-4)


def projected(gaussians: Gaussians, seen_by: Camera) -> tuple[list[Tensor], list[Tensor]]:
    """Splats of "mip", and the gradients of a random sum of them."""
    leaves = free(gaussians, gaussians.means.dtype)
    splats = project(leaves, seen_by, filter="mip")
    outputs = [getattr(splats, name) for name in SPLATS]
    generator = torch.Generator().manual_seed(5)
    upstream = [torch.randn(each.shape, generator=generator).to(each) for each in outputs]
    gradients = torch.autograd.grad(outputs, [getattr(leaves, name) for name in ATTRIBUTES], upstream)
    return [each.detach() for each in outputs], list(gradients)


@needs_kernels
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["usual", "needles", "points"])
def test_the_compiled_projection_agrees_with_the_specification(
    model: str, kind: str, generator: torch.Generator
) -> None:
    gaussians, seen_by = set_of(generator, 200), camera((33, 40), model)
    if kind == "needles":
        gaussians.scales[..., 1:] = 1e-6
    if kind == "points":
        gaussians.scales.zero_()
    assert projection.takes_compiled(gaussians, seen_by, "mip")
    found, expected = projected(gaussians, seen_by), projected(gaussians.to(torch.float64), seen_by)
    names = [*SPLATS, *(f"gradient of {name}" for name in ATTRIBUTES)]
    for name, got, want in zip(names, [*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert got.isfinite().all(), name
        if kind != "needles" or "gradient of" not in name:
            assert relative_error(got, want) < 2e-5, (name, relative_error(got, want))


def clear_pixels(gaussians: Gaussians, seen_by: Camera) -> Tensor:
    """Pixels [H, W] that rounding does not decide."""
    exact = gaussians.map(lambda each: each.detach().double().unsqueeze(0))
    splats = project(exact, seen_by.to(torch.float64), "torch", "mip")
    size = seen_by.height, seen_by.width
    return clear_of_thresholds(splats.means2d, splats.conics, splats.opacities, size, 1e-3)[0]


def results(
    gaussians: Gaussians, seen_by: Camera, backend: str, clear: Tensor, grid: PixelGrid = WHOLE_PICTURE
) -> tuple[Tensor, dict[str, Tensor]]:
    """Colours and coverage [4, H, W], and the gradients of a random sum over `clear` pixels."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    leaves, moved = free(gaussians, dtype), free_camera(seen_by, dtype)
    made = render(leaves, moved, (0.3, 0.6, 0.9), backend, grid=grid, filter="mip")
    picture = torch.cat([made.color, made.alpha[None]])
    weights = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats}
    gradients = torch.autograd.grad((picture * weights * clear).sum(), list(inputs.values()))
    return picture.detach() * clear, dict(zip(inputs, gradients, strict=True))


def assert_agrees(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> None:
    assert float((found[0] - expected[0]).abs().max()) < 2e-5
    for name, want in expected[1].items():
        most = 2e-4 if name in ("scales", "quaternions") else 4e-5
        assert relative_error(found[1][name], want) < most, (name, relative_error(found[1][name], want))


@pytest.fixture
def as_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of any size go the way for scenes, but for `backend="torch"`."""
    monkeypatch.setattr(scenes, "FEWEST", 0)
    monkeypatch.setattr(scenes, "ALWAYS", 0)


@needs_kernels
@pytest.mark.usefixtures("as_scenes")
class TestScenes:
    """The way for scenes against the specification in float64."""

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("degree", [None, 1])
    def test_pictures_and_gradients(self, model: str, degree: int | None, generator: torch.Generator) -> None:
        gaussians, seen_by = many(generator, 300, degree), camera((65, 40), model)
        clear = clear_pixels(gaussians, seen_by)
        assert clear.double().mean() > 0.5
        expected = results(gaussians, seen_by, "torch", clear)
        assert_agrees(results(gaussians, seen_by, "auto", clear), expected)
        point = render(gaussians, seen_by, (0.3, 0.6, 0.9))
        assert float((torch.cat([point.color, point.alpha[None]]) * clear - expected[0]).abs().max()) > 0.05

    def test_every_instruction_set(self, instructions: Compiled, generator: torch.Generator) -> None:
        gaussians, seen_by = many(generator, 200), camera((33, 40))
        clear = clear_pixels(gaussians, seen_by)
        assert_agrees(results(gaussians, seen_by, "cpu", clear), results(gaussians, seen_by, "torch", clear))

    def test_a_grid_of_pixels(self, generator: torch.Generator) -> None:
        """The filter stays that of the whole picture's pixels."""
        gaussians, seen_by, grid = many(generator, 200), camera((33, 40)), PixelGrid(2, 1, 0)
        clear = grid.of(clear_pixels(gaussians, seen_by))
        found, expected = (results(gaussians, seen_by, each, clear, grid) for each in ("cpu", "torch"))
        assert_agrees(found, expected)

    def test_info_is_of_what_shows(self, generator: torch.Generator) -> None:
        gaussians, seen_by = many(generator, 300), camera((33, 40))
        infos = [render(gaussians, seen_by, info=True, filter=each).info for each in ("point", "mip")]
        assert infos[0] is not None and infos[1] is not None
        assert set(infos[1].ids.tolist()) < set(infos[0].ids.tolist())
        assert infos[1].not_finite == 0

    def test_gaussians_without_a_width_show_nothing_and_have_no_gradient(self, generator: torch.Generator) -> None:
        made = many(generator, 40)
        leaves = free(replace(made, scales=torch.zeros_like(made.scales)))
        picture = render(leaves, camera((17, 23)), "black", filter="mip")
        assert float(picture.alpha.detach().abs().max()) == 0.0
        picture.color.sum().backward()
        for name, each in leaves.tensors().items():
            assert each.grad is not None and not each.grad.any(), name


@needs_kernels
def test_the_two_compiled_ways_agree(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    gaussians, seen_by = many(generator, 120), replace(camera((40, 41)), far=math.inf)
    few = render(gaussians, seen_by, "black", filter="mip")
    monkeypatch.setattr(scenes, "ALWAYS", 0)
    scene = render(gaussians, seen_by, "black", filter="mip")
    assert not torch.equal(few.color, scene.color), "one way was taken twice"
    clear = clear_pixels(gaussians, seen_by)
    assert float(((few.color - scene.color) * clear).abs().max()) < 1e-5


@needs_kernels
def test_composite_of_project_is_render(generator: torch.Generator) -> None:
    gaussians, seen_by = set_of(generator), camera((33, 40))
    splats = project(gaussians, seen_by, filter="mip")
    image, _ = composite(splats, seen_by.height, seen_by.width, "black")
    assert torch.equal(image, render(gaussians, seen_by, "black", depth=False, filter="mip").color)


@needs_kernels
def test_panoramas_agree_with_the_specification(generator: torch.Generator) -> None:
    gaussians = many(generator, 200, degree=2)
    seen_by = Camera.panorama(48, 96, camera((8, 8)).viewmats)
    found, expected = (
        render(gaussians.to(dtype), seen_by, "black", backend, filter="mip").color.double()
        for backend, dtype in (("cpu", torch.float32), ("torch", torch.float64))
    )
    assert float(((found - expected).abs() > 2e-5).double().mean()) < 2e-3
    assert relative_error(found, expected) < 1e-3
    clear = ((found - expected).abs() < 1e-4).all(0)
    assert_agrees(*(results(gaussians, seen_by, each, clear) for each in ("cpu", "torch")))


@needs_kernels
def test_it_is_antialiased_behind_the_signature_of_gsplat(generator: torch.Generator) -> None:
    gaussians, seen_by = many(generator, 200, degree=None), replace(camera((33, 40)), near=0.01, far=1e10)
    arguments = {
        "means": gaussians.means,
        "quats": gaussians.quaternions,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "colors": gaussians.colors,
        "viewmats": seen_by.viewmats[None],
        "Ks": seen_by.K[None],
        "width": seen_by.width,
        "height": seen_by.height,
    }
    found, _, _ = rasterization(**arguments, rasterize_mode="antialiased")
    expected = render(gaussians, seen_by, "black", filter="mip").color.movedim(0, -1)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    classic, _, _ = rasterization(**arguments)
    assert float((classic - found).abs().max()) > 0.05


def test_an_unknown_filter_is_refused_by_name(generator: torch.Generator) -> None:
    gaussians, seen_by = set_of(generator, 3), camera((7, 7))
    for call in (project, render):
        with pytest.raises(InputError, match="filter: expected one of point, mip, analytic, got 'box'"):
            call(gaussians, seen_by, filter="box")
