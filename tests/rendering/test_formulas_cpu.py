"""Compiled formulas of α other than the Gaussian's against the specification in float64: every output and gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rendering.compiled import CPU, Compiled, relative_error
from rendering.many import SIZES, camera, free, free_camera, many
from rendering.thresholds import clear_of_thresholds
from splatlearn.core.cameras import WHOLE_PICTURE, Camera, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import composite, project, render, scenes
from splatlearn.rendering.backends.cpu import support as cpu_support

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
FORMULAS = [("ges", "point"), ("ges", "mip"), ("gaussian", "analytic")]
MODELS = ("pinhole", "orthographic", "gmae")
BEHIND = (0.3, 0.6, 0.9)


@pytest.fixture(params=CPU)
def instructions(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    with request.param.active():
        yield request.param


def set_of(primitive: str, generator: torch.Generator, count: int, degree: int | None = None) -> Gaussians:
    """Gaussians [K]; exponents are from 1 to 8."""
    made = many(generator, count, degree)
    if primitive != "ges":
        return made
    return replace(made, primitive=primitive, shapes=8.0 ** torch.rand(count, 1, generator=generator))


def clear_pixels(gaussians: Gaussians, seen_by: Camera, filter: str) -> Tensor:
    """Pixels [H, W] that rounding does not decide."""
    exact = gaussians.map(lambda each: each.detach().double().unsqueeze(0))
    splats = project(exact, seen_by.to(torch.float64), "torch", filter)
    size = seen_by.height, seen_by.width
    return clear_of_thresholds(splats.means2d, splats.packed, splats.opacities, size, 1e-3, splats.primitive)[0]


def results(
    gaussians: Gaussians, seen_by: Camera, filter: str, backend: str, clear: Tensor, grid: PixelGrid = WHOLE_PICTURE
) -> tuple[Tensor, dict[str, Tensor]]:
    """Colours, coverage and depth [5, H, W], and the gradients of a random sum over `clear` pixels."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    leaves, moved = free(gaussians, dtype), free_camera(seen_by, dtype)
    made = render(leaves, moved, BEHIND, backend, grid=grid, filter=filter)
    assert made.depth is not None
    picture = torch.cat([made.color, made.alpha[None], 0.1 * (made.depth * made.alpha.detach())[None]])
    weights = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats}
    gradients = torch.autograd.grad((picture * weights * clear).sum(), list(inputs.values()))
    return picture.detach() * clear, dict(zip(inputs, gradients, strict=True))


def assert_agrees(
    found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]], filter: str
) -> None:
    assert float((found[0] - expected[0]).abs().max()) < 2e-5
    for name, want in expected[1].items():
        # Slopes of windows are differences of near numbers: 1.1e-4 was measured.
        most = 2e-4 if name in ("scales", "quaternions") or filter == "analytic" else 4e-5
        assert relative_error(found[1][name], want) < most, (name, relative_error(found[1][name], want))


@pytest.mark.parametrize(("primitive", "filter"), FORMULAS)
@pytest.mark.parametrize(("model", "degree"), [("pinhole", 1), ("orthographic", None), ("gmae", None)])
def test_pictures_and_gradients(
    primitive: str, filter: str, model: str, degree: int | None, generator: torch.Generator
) -> None:
    gaussians, seen_by = set_of(primitive, generator, 200, degree), camera((33, 70), model)
    clear = clear_pixels(gaussians, seen_by, filter)
    assert clear.double().mean() > 0.4
    expected = results(gaussians, seen_by, filter, "torch", clear)
    assert_agrees(results(gaussians, seen_by, filter, "cpu", clear), expected, filter)
    plain = render(replace(gaussians, primitive="gaussian", shapes=None), seen_by, BEHIND).color
    assert float((plain * clear - expected[0][:3]).abs().max()) > 0.02


@pytest.mark.parametrize(("primitive", "filter"), FORMULAS[::2])
def test_every_instruction_set(primitive: str, filter: str, instructions: Compiled, generator: torch.Generator) -> None:
    gaussians, seen_by = set_of(primitive, generator, 120), camera((33, 40))
    clear = clear_pixels(gaussians, seen_by, filter)
    found, expected = (results(gaussians, seen_by, filter, each, clear) for each in ("cpu", "torch"))
    assert_agrees(found, expected, filter)


@pytest.mark.parametrize(("primitive", "filter"), FORMULAS[::2])
def test_ragged_pictures_grids_and_many_channels(primitive: str, filter: str, generator: torch.Generator) -> None:
    gaussians = set_of(primitive, generator, 60)
    for size in SIZES[:4]:
        seen_by = camera(size)
        clear = clear_pixels(gaussians, seen_by, filter)
        found, expected = (results(gaussians, seen_by, filter, each, clear) for each in ("cpu", "torch"))
        assert_agrees(found, expected, filter)
    features = replace(gaussians, colors=torch.rand(60, 21, generator=generator))
    shown, exact = (
        render(each, camera((17, 23)), "black", backend, filter=filter).color
        for each, backend in ((features, "cpu"), (features.to(torch.float64), "torch"))
    )
    clear = clear_pixels(gaussians, camera((17, 23)), filter)
    assert float(((shown - exact) * clear).abs().max()) < 2e-5
    if filter != "analytic":
        grid, seen_by = PixelGrid(2, 1, 0), camera((33, 40))
        clear = grid.of(clear_pixels(gaussians, seen_by, filter))
        found, expected = (results(gaussians, seen_by, filter, each, clear, grid) for each in ("cpu", "torch"))
        assert_agrees(found, expected, filter)


@pytest.mark.parametrize(("primitive", "filter"), FORMULAS[::2])
def test_info_has_the_gradients_of_means2d(primitive: str, filter: str, generator: torch.Generator) -> None:
    gaussians, seen_by = set_of(primitive, generator, 30), camera((5, 6))
    clear = clear_pixels(gaussians, seen_by, filter)
    weights = torch.randn(3, 5, 6, generator=generator) * clear
    leaves = free(gaussians)
    made = render(leaves, seen_by, "black", depth=False, info=("weights", "absgrad"), filter=filter)
    (made.color * weights).sum().backward()
    assert made.info is not None and made.info.means2d_grad is not None and made.info.means2d_absgrad is not None
    exact = gaussians.map(lambda each: each.double().unsqueeze(0))
    order = replace(exact, colors=torch.arange(30, dtype=torch.float64)[None, :, None])
    places = project(order, seen_by, "torch", filter).colors[0, :, 0].long()
    splats = project(exact, seen_by, "torch", filter)
    means2d = splats.means2d.detach().requires_grad_()
    color, _ = composite(replace(splats, means2d=means2d), 5, 6, backend="torch")
    each = [
        torch.autograd.grad((color[0, :, row, column] * weights[:, row, column]).sum(), means2d, retain_graph=True)[0]
        for row in range(5)
        for column in range(6)
    ]
    signed, absolute = torch.zeros(30, 2, dtype=torch.float64), torch.zeros(30, 2, dtype=torch.float64)
    signed[places] = torch.stack(each).sum(0)[0]
    absolute[places] = torch.stack(each).abs().sum(0)[0]
    assert relative_error(made.info.means2d_grad, signed[made.info.ids]) < 1e-4
    assert relative_error(made.info.means2d_absgrad, absolute[made.info.ids]) < 1e-4
    unseen = torch.ones(30, dtype=torch.bool)
    unseen[made.info.ids] = False
    assert float(absolute[unseen].abs().max()) == 0.0


@pytest.mark.parametrize(("primitive", "filter"), FORMULAS[::2])
def test_several_views_add_up_at_any_number_of_threads(primitive: str, filter: str, generator: torch.Generator) -> None:
    gaussians = set_of(primitive, generator, 300)
    cameras = [camera((65, 40)), Camera.look_at((-2.0, 0.5, -3.0), (0.0, 0.0, 0.0), 65, 40)]
    both = replace(cameras[0], viewmats=torch.stack([each.viewmats for each in cameras]))

    def gradients(given: list[Camera]) -> dict[str, Tensor]:
        leaves = free(gaussians)
        for each in given:
            render(leaves, each, "black", depth=False, filter=filter).color.square().sum().backward()
        return {name: each.grad for name, each in leaves.tensors().items() if each.grad is not None}

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = gradients([both])
        torch.set_num_threads(3)
        again = gradients([both])
    finally:
        torch.set_num_threads(threads)
    for name, each in gradients(cameras).items():
        assert relative_error(together[name], each.double()) < 1e-5, name
        assert torch.equal(together[name], again[name]), name


@pytest.mark.parametrize("count", [40, scenes.FEWEST])
@pytest.mark.parametrize(("primitive", "filter"), FORMULAS[::2])
def test_sets_of_any_size_are_rendered_as_scenes(
    primitive: str, filter: str, count: int, generator: torch.Generator
) -> None:
    """Neither the way for few Gaussians nor the specification has to draw what only the kernels of scenes know."""
    gaussians, seen_by = set_of(primitive, generator, count), camera((33, 40))
    assert scenes.scene_backend(gaussians, seen_by, filter=filter) == "cpu"
    assert scenes.is_scene(gaussians, seen_by, "cpu", filter)
    shown = render(gaussians, seen_by, BEHIND, filter=filter, info=True)
    assert shown.info is not None
    clear = clear_pixels(gaussians, seen_by, filter)
    exact = render(gaussians.to(torch.float64), seen_by, BEHIND, "torch", filter=filter).color
    assert float(((shown.color - exact) * clear).abs().max()) < 2e-5


def test_an_exponent_of_2_shows_the_gaussian(generator: torch.Generator) -> None:
    gaussians, seen_by = many(generator, 300), camera((65, 40))
    clear = clear_pixels(replace(gaussians, colors=torch.rand(300, 3), sh=None), seen_by, "point")
    plain, bent = (render(gaussians, seen_by, "black", "cpu", primitive=each).color for each in ("gaussian", "ges"))
    assert float(((plain - bent) * clear).abs().max()) < 1e-5


def test_exponents_that_are_not_valid_are_named_or_dropped(generator: torch.Generator) -> None:
    made = set_of("ges", generator, 60)
    assert made.shapes is not None
    for value, message in ((-1.0, "exponents above 0"), (float("nan"), "shapes: expected")):
        shapes = made.shapes.clone()
        shapes[7] = value
        with pytest.raises(InputError, match=message):
            render(replace(made, shapes=shapes), camera((9, 9)))
    shapes = made.shapes.clone()
    shapes[7] = float("nan")
    kept = torch.arange(60) != 7
    dropped = render(replace(made, shapes=shapes), camera((9, 9)), check="drop").color
    assert torch.equal(dropped, render(made.select(kept), camera((9, 9))).color)
