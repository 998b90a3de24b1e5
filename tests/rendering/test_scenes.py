"""The way for scenes against the specification in float64: pictures and all gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from rendering.compiled import CPU, Compiled, relative_error
from rendering.many import SIZES, camera, free, free_camera, many
from rendering.thresholds import clear_of_thresholds
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Rendering, project, render, scenes
from splatlearn.rendering.backends.cpu import support as cpu_support

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())
BACKGROUND = (0.3, 0.6, 0.9)


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of any size go the way for scenes, but for `backend="torch"`."""
    monkeypatch.setattr(scenes, "FEWEST", 0)
    monkeypatch.setattr(scenes, "ALWAYS", 0)


@pytest.fixture(params=CPU)
def instructions(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    with request.param.active():
        yield request.param


def clear_pixels(gaussians: Gaussians, view: Camera, band: float = 1e-3, filter: str = "point") -> torch.Tensor:
    """Pixels [H, W] that rounding does not decide."""
    splats = project(
        gaussians.map(lambda each: each.detach().double().unsqueeze(0)), view.to(torch.float64), "torch", filter
    )
    return clear_of_thresholds(splats.means2d, splats.conics, splats.opacities, (view.height, view.width), band)[0]


def results(
    gaussians: Gaussians, view: Camera, backend: str, dtype: torch.dtype, clear: torch.Tensor, seed: int = 0
) -> tuple[Rendering, dict[str, torch.Tensor]]:
    """A picture, and the gradients of a random sum over its decided pixels."""
    leaves, moved = free(gaussians, dtype), free_camera(view, dtype)
    channels = 3 if gaussians.colors is None else gaussians.colors.shape[-1]
    background = torch.tensor((BACKGROUND * 14)[:channels], dtype=dtype).requires_grad_()
    made = render(leaves, moved, background, backend)
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=dtype)
    for each in (made.color, made.alpha, made.depth):
        assert each is not None
        loss = loss + (each * torch.randn(each.shape, generator=generator) * clear).sum()
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats, "background": background}
    return made, dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values())), strict=True))


def assert_agrees(gaussians: Gaussians, view: Camera, most: float = 2e-5) -> None:
    """Compare with float64: pictures to 1e-5 at every decided pixel, gradients to `most` in relative L2."""
    clear = clear_pixels(gaussians, view)
    assert clear.double().mean() > 0.5
    got, got_gradients = results(gaussians, view, "auto", torch.float32, clear)
    want, want_gradients = results(gaussians, view, "torch", torch.float64, clear)
    assert got.info is None
    for name in ("color", "alpha"):
        error = (getattr(got, name) - getattr(want, name)).detach().abs() * clear
        assert float(error.max()) < 1e-5, (name, float(error.max()))
    assert got.depth is not None and want.depth is not None
    covered = clear & (want.alpha > 0.1)
    assert relative_error(got.depth.detach()[covered], want.depth.detach()[covered]) < 1e-5
    errors = {name: relative_error(got_gradients[name], want_gradients[name]) for name in want_gradients}
    # Of the moments of huge and thin splats, little is left in the gradients of scales and rotations.
    allowed = {name: 10 * most if name in ("scales", "quaternions") else most for name in errors}
    if all(error < allowed[name] for name, error in errors.items()):
        return
    # What float32 loses of the projection of a huge Gaussian, it loses in the specification, too.
    _, single = results(gaussians, view, "torch", torch.float32, clear)
    for name, error in errors.items():
        assert error < max(allowed[name], 3 * relative_error(single[name], want_gradients[name])), (name, errors)


@pytest.mark.parametrize("seed", [*range(18), *(pytest.param(seed, marks=pytest.mark.large) for seed in range(18, 50))])
def test_random_scenes_agree_with_the_specification(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gaussians = many(generator, 1000, degree=(None, 0, 1, 2, 3, 4)[seed % 6])
    assert_agrees(gaussians, camera(SIZES[seed % len(SIZES)], ("pinhole", "gmae", "orthographic")[seed % 3]))


@pytest.mark.large
@pytest.mark.parametrize("seed", range(3))
def test_twenty_thousand_gaussians_agree_with_the_specification(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    assert_agrees(many(generator, 20_000, degree=3), camera((40, 75)), most=5e-5)


def test_every_instruction_set_agrees_with_the_specification(instructions: Compiled) -> None:
    generator = torch.Generator().manual_seed(3)
    assert_agrees(many(generator, 300, degree=3), camera((70, 141)))


@pytest.mark.parametrize("channels", [1, 2, 16, 17, 40])
def test_features_of_any_number_are_blended(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    assert_agrees(many(generator, 200, degree=None, channels=channels), camera((33, 70)))


def test_gradients_are_those_of_finite_differences() -> None:
    """Along random directions, of the specification in float64, away from where the formula jumps."""
    generator = torch.Generator().manual_seed(7)
    # Without those in one place, whose order would change.
    gaussians = many(generator, 50, degree=2).select(slice(6, None))
    gaussians = replace(gaussians, opacities=gaussians.opacities.clamp(0.1, 0.9))
    view = camera((24, 31))
    clear = clear_pixels(gaussians, view, band=3e-2)
    tensors = {**gaussians.tensors(), "viewmats": view.viewmats}
    weights = torch.randn(3, 24, 31, generator=generator) * clear

    def loss(shift: dict[str, torch.Tensor], size: float) -> float:
        moved = {name: each.double() + size * shift[name] for name, each in tensors.items() if name in shift}
        kept = {name: each.double() for name, each in tensors.items()} | moved
        at = replace(view, viewmats=kept.pop("viewmats"))
        made = render(Gaussians.of(kept), at, BACKGROUND, "torch", depth=False)
        return float((made.color * weights).sum())

    _, gradients = _gradients_of_color(gaussians, view, weights)
    for name, each in tensors.items():
        direction = torch.randn(each.shape, generator=generator).double()
        if name == "viewmats":
            direction[3] = 0.0
        size = 1e-5
        slope = (loss({name: direction}, size) - loss({name: direction}, -size)) / (2 * size)
        assert float((gradients[name].double() * direction).sum()) == pytest.approx(slope, rel=2e-3, abs=2e-3), name


def _gradients_of_color(
    gaussians: Gaussians, view: Camera, weights: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    leaves, moved = free(gaussians), free_camera(view)
    made = render(leaves, moved, BACKGROUND, depth=False)
    inputs = {**leaves.tensors(), "viewmats": moved.viewmats}
    gradients = torch.autograd.grad((made.color * weights).sum(), list(inputs.values()))
    return made.color.detach(), dict(zip(inputs, gradients, strict=True))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 3000])
def test_both_ways_of_the_cpu_agree(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(count)
    gaussians, view = many(generator, count, degree=None), camera((100, 150))
    clear = clear_pixels(gaussians, view) if count < 1000 else torch.ones(100, 150, dtype=torch.bool)
    large = results(replace(gaussians), view, "auto", torch.float32, clear)
    monkeypatch.setattr(scenes, "FEWEST", 10**9)
    monkeypatch.setattr(scenes, "ALWAYS", 10**9)
    fixed = camera((100, 150))
    small = render(gaussians, fixed, BACKGROUND)
    assert relative_error(large[0].color.detach(), small.color) < 1e-5
    leaves = free(gaussians)
    made = render(leaves, fixed, torch.tensor(BACKGROUND))
    generator = torch.Generator().manual_seed(0)
    loss = torch.zeros(())
    for each in (made.color, made.alpha, made.depth):
        assert each is not None
        loss = loss + (each * torch.randn(each.shape, generator=generator) * clear).sum()
    gradients = dict(zip(leaves.tensors(), torch.autograd.grad(loss, list(leaves.tensors().values())), strict=True))
    for name, each in gradients.items():
        most = 3e-4 if name in ("scales", "quaternions") or count == 1 else 3e-5
        assert relative_error(large[1][name], each) < most, name


def test_the_way_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    few, lots = (many(torch.Generator().manual_seed(0), count) for count in (100, scenes.FEWEST))
    small, large = camera((64, 64)), camera((224, 224))
    assert not scenes.is_scene(few, large, "cpu")
    assert scenes.is_scene(lots, large, "cpu")
    assert not scenes.is_scene(lots, small, "cpu")
    assert scenes.is_scene(few, replace(large, viewmats=large.viewmats.expand(2, 4, 4)), "cpu")
    assert scenes.is_scene(few, replace(large, far=9.0), "cpu")
    assert scenes.scene_backend(few, large) == scenes.scene_backend(few, large, "cpu") == "cpu"
    assert scenes.scene_backend(few.to(torch.float64), large) is None
    assert scenes.scene_backend(few, large, "torch") is None


def test_views_of_a_set_are_those_of_single_cameras_and_their_gradients_add_up() -> None:
    generator = torch.Generator().manual_seed(5)
    gaussians = many(generator, 300, degree=2).map(lambda each: each.unflatten(0, (2, 150)))
    eyes = [(1.0, -0.5, -4.0), (-1.0, 0.3, -3.0), (0.2, 0.1, 3.5)]
    singles = [Camera.look_at(eye, (0.0, 0.0, 0.0), 40, 70) for eye in eyes]
    focal = torch.tensor([60.0, 70.0, 80.0])
    viewmats = torch.stack([each.viewmats for each in singles]).expand(2, 3, 4, 4)
    views = Camera(70, 40, focal.expand(2, 3), 65.0, 35.0, 20.0, viewmats=viewmats)
    leaves = free(gaussians)
    made = render(leaves, views, BACKGROUND)
    upstream = torch.randn(made.color.shape, generator=generator)
    gradients = torch.autograd.grad((made.color * upstream).sum(), list(leaves.tensors().values()))
    totals = [torch.zeros_like(each) for each in gradients]
    for one in range(2):
        for view, single in enumerate(singles):
            alone = free(gaussians[one])
            at = Camera(70, 40, float(focal[view]), 65.0, 35.0, 20.0, viewmats=single.viewmats)
            picture = render(alone, at, BACKGROUND)
            assert torch.equal(picture.color, made.color[one, view])
            found = torch.autograd.grad((picture.color * upstream[one, view]).sum(), list(alone.tensors().values()))
            for total, each in zip(totals, found, strict=True):
                total[one] += each
    for got, want in zip(gradients, totals, strict=True):
        assert relative_error(got, want) < 1e-6


def test_bits_are_the_same_for_any_number_of_threads() -> None:
    gaussians, view = many(torch.Generator().manual_seed(8), 4000, degree=1), camera((150, 200))
    everywhere = torch.ones(150, 200, dtype=torch.bool)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            made, gradients = results(gaussians, view, "auto", torch.float32, everywhere)
            found.append([made.color.detach(), made.alpha.detach(), *gradients.values()])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, each) for one, each in zip(found[0], other, strict=True))


def test_the_far_plane_hides_what_is_behind_it() -> None:
    gaussians = many(torch.Generator().manual_seed(9), 500)
    view = replace(camera((50, 60)), far=4.0)
    assert_agrees(gaussians, view)
    assert not torch.equal(render(gaussians, view).color, render(gaussians, replace(view, far=5.0)).color)


@pytest.mark.parametrize("count", [0, 3])
def test_a_view_that_sees_nothing_is_background(count: int) -> None:
    gaussians = many(torch.Generator().manual_seed(0), count)
    leaves = free(replace(gaussians, means=gaussians.means - torch.tensor([0.0, 0.0, 50.0])))
    made = render(leaves, camera((20, 30)), BACKGROUND)
    assert torch.equal(made.color, torch.tensor(BACKGROUND)[:, None, None].expand(3, 20, 30))
    made.color.sum().backward()
    for each in leaves.tensors().values():
        assert each.grad is not None and not each.grad.any()


def test_a_second_derivative_is_refused_in_a_sentence() -> None:
    leaves = free(many(torch.Generator().manual_seed(0), 50))
    made = render(leaves, camera((20, 30)), BACKGROUND)
    (gradient,) = torch.autograd.grad(made.color.square().sum(), leaves.means, create_graph=True)
    with pytest.raises(BackendError, match="backend='torch'"):
        gradient.sum().backward()


def test_invalid_values_are_named() -> None:
    gaussians = many(torch.Generator().manual_seed(0), 300)
    for name, value, message in (
        ("scales", -1.0, "scales: expected standard deviations"),
        ("opacities", 1.5, "opacities: expected"),
        ("quaternions", 0.0, "quaternions: expected rotations"),
        ("sh", float("nan"), "sh: "),
        ("means", float("inf"), "means: "),
    ):
        tensor = gaussians.tensors()[name].clone()
        tensor[7] = value
        broken = replace(gaussians, **{name: tensor})
        broken = (
            replace(broken, means=broken.means.index_fill(0, torch.tensor([7]), 0.0)) if name != "means" else broken
        )
        with pytest.raises(InputError, match=message):
            render(broken, camera((40, 60)))
