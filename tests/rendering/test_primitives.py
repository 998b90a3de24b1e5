"""Primitives: one from outside of the package in every place that knows Gaussians, and their interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import splatlearn as sl
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import BackendError, InputError, SlowBackendWarning
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import FitOptions
from splatlearn.fitting.scene_parameters import scene_gaussians, scene_parameters
from splatlearn.rendering import Elliptic, as_primitive, composite, primitives, project, register_primitive, render
from splatlearn.rendering.backends.cpu import support as cpu_support
from splatlearn.rendering.backends.torch.primitives import registry

needs_kernels = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


class Tent(Elliptic):
    """α = opacity · max(0, 1 − power / width)²: a splat that ends somewhere."""

    name = "tent"
    parameters = ("width",)
    neutral = (3.0,)

    def falloff(self, power: Tensor, numbers: Tensor) -> Tensor:
        return (1.0 - power / numbers[..., 0, :]).clamp_min(0.0).square()

    def slopes(self, power: Tensor, numbers: Tensor, falloff: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        width, root = numbers[..., 0, :], falloff.sqrt()
        return -2.0 * root / width, (2.0 * root * power / width.square(),)

    def reach(self, levels: Tensor, numbers: Tensor) -> Tensor:
        return numbers[..., 0] * (1.0 - torch.exp(-0.5 * levels))

    def refusal(self, shapes: Tensor) -> str | None:
        return None if float(shapes.min()) > 0 else f"widths above 0, got {float(shapes.min()):.4g}"

    def free(self, shapes: Tensor) -> Tensor:
        return shapes.log()

    def bound(self, numbers: Tensor) -> Tensor:
        return numbers.exp()


@pytest.fixture(autouse=True)
def tent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_formulas", dict(registry._formulas))
    register_primitive(Tent)
    yield


def tents(generator: torch.Generator, dtype: torch.dtype = torch.float64, count: int = 6) -> Gaussians:
    made = random_gaussians(generator, (), count, dtype=dtype)
    widths = 1.0 + 3.0 * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    return replace(made, primitive="tent", shapes=widths.to(dtype))


def test_a_primitive_from_outside_is_drawn_by_its_formula(generator: torch.Generator) -> None:
    one, camera = tents(generator, count=1), Camera.gmae(12, 14)
    one = replace(one, means=one.means * 0.2)
    color, alpha = (lambda made: (made.color, made.alpha))(render(one, camera, "black", depth=False))
    splats = project(one.reshape_batch(1), camera)
    conic, width = splats.conics[0, 0], one.shapes
    assert width is not None and splats.primitive == "tent"
    rows, columns = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(14) + 0.5, indexing="ij")
    d = torch.stack([columns, rows], dim=-1).double() - splats.means2d[0, 0]
    matrix = torch.stack([conic[:2], conic[1:]])
    power = 0.5 * ((d @ matrix) * d).sum(-1)
    expected = one.opacities[0] * (1 - power / width[0, 0]).clamp_min(0) ** 2
    expected = torch.where(expected >= 1 / 255, expected.clamp_max(0.999), 0.0)
    assert 0 < int((expected > 0).sum()) < expected.numel()
    torch.testing.assert_close(alpha, expected)
    assert one.colors is not None
    torch.testing.assert_close(color, expected * one.colors[0][:, None, None])


def test_its_gradients_are_those_of_autograd(generator: torch.Generator) -> None:
    gaussians, camera = tents(generator), Camera.gmae(7, 6)
    target = torch.rand(3, 7, 6, generator=generator, dtype=torch.float64)

    def gradients(transform: bool) -> dict[str, Tensor]:
        def loss(tensors: dict[str, Tensor]) -> Tensor:
            made = replace(gaussians, **tensors)
            return (render(made, camera, "white", "torch", depth=False).color - target).square().sum()

        leaves = {name: each.clone().requires_grad_() for name, each in gaussians.tensors().items()}
        if transform:
            # A function transform differentiates the formula itself.
            return torch.func.grad(loss)({name: each.detach() for name, each in leaves.items()})
        loss(leaves).backward()
        return {name: each.grad for name, each in leaves.items() if each.grad is not None}

    written, recorded = gradients(False), gradients(True)
    assert written.keys() == recorded.keys() == gaussians.tensors().keys()
    for name, each in written.items():
        assert float(each.abs().max()) > 0, name
        torch.testing.assert_close(each, recorded[name], msg=name)


def test_helpers_of_the_container_carry_it(generator: torch.Generator) -> None:
    tents_of = tents(generator)
    assert "shapes" in tents_of.tensors()
    assert tents_of.shapes is not None
    for made, expected in {
        tents_of.select(torch.tensor([3, 1])): tents_of.shapes[[3, 1]],
        tents_of.to(torch.float32): tents_of.shapes.float(),
        tents_of.transformed(torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.ones(3), 2.0): tents_of.shapes,
        Gaussians.cat([tents_of, tents_of]): torch.cat([tents_of.shapes] * 2),
        tents_of.with_degree(1): tents_of.shapes,
        tents_of.reshape_batch(1)[0].detach(): tents_of.shapes,
    }.items():
        assert made.primitive == "tent" and made.shapes is not None
        assert torch.equal(made.shapes, expected)
    with pytest.raises(InputError, match="parts: expected sets of one primitive, got tent and gaussian"):
        Gaussians.cat([tents_of, random_gaussians(generator, (), 2, dtype=torch.float64)])


def test_plain_gaussians_become_it_and_numbers_are_not_lost(generator: torch.Generator) -> None:
    plain, camera = random_gaussians(generator, ()), Camera.gmae(9, 9)
    named = render(plain, camera, primitive="tent", depth=False).color
    made = as_primitive(plain, "tent")
    assert made.shapes is not None and torch.equal(made.shapes, torch.full((12, 1), 3.0))
    assert torch.equal(render(made, camera, depth=False).color, named)
    assert not torch.equal(render(plain, camera, depth=False).color, named)
    with pytest.raises(InputError, match="primitive: expected 'tent', whose shapes the gaussians have, got 'gaussian'"):
        render(made, camera, primitive="gaussian")
    assert "tent" in primitives()


def test_what_is_wrong_is_named(generator: torch.Generator) -> None:
    plain, camera = random_gaussians(generator, ()), Camera.gmae(9, 9)
    with pytest.raises(InputError, match="primitive: expected one of gaussian, ges.*, got 'blob'"):
        render(plain, camera, primitive="blob")
    with pytest.raises(InputError, match=r"shapes: expected 1 numbers \(width\) for the primitive 'tent', got 0"):
        render(replace(plain, primitive="tent"), camera)
    with pytest.raises(InputError, match="shapes: expected widths above 0, got -1"):
        render(replace(plain, primitive="tent", shapes=-torch.ones(12, 1)), camera)
    with pytest.raises(InputError, match="shapes: expected none for the primitive 'gaussian'"):
        replace(plain, shapes=torch.ones(12, 1))
    with pytest.raises(InputError, match="name: expected a primitive that is not registered yet, got 'tent'"):
        register_primitive(Tent)


@needs_kernels
def test_compiled_backends_refuse_or_leave_it_to_the_specification(generator: torch.Generator) -> None:
    tents_of, camera = tents(generator, torch.float32), Camera.gmae(9, 9)
    splats = project(tents_of.reshape_batch(1), camera, "cpu")
    with pytest.raises(BackendError, match="'cpu' cannot be used here: it composites gaussian and convex alone"):
        composite(splats, 9, 9, backend="cpu")
    with pytest.warns(SlowBackendWarning, match="it composites gaussian and convex alone"):
        automatic = render(tents_of, camera)
    assert torch.equal(automatic.color, render(tents_of, camera, backend="torch").color)
    with pytest.raises(BackendError, match="info"):
        render(tents_of, camera, info=True)


@pytest.mark.filterwarnings("ignore::splatlearn.core.errors.SlowBackendWarning")
def test_fits_move_its_numbers(generator: torch.Generator) -> None:
    image = torch.rand(1, 3, 8, 8, generator=generator)
    errors = []
    options = FitOptions(primitive="tent", add=3, rounds=1)
    fitted = sl.fit(image, 5, 6, options, watch=lambda step, error: errors.append(float(error)))
    assert fitted.primitive == "tent" and fitted.shapes is not None and fitted.count == 8
    assert not torch.equal(fitted.shapes, torch.full_like(fitted.shapes, 3.0)) and errors[-1] < errors[0]
    again = sl.fit(image, fitted, 0)
    assert again.shapes is not None
    torch.testing.assert_close(again.shapes, fitted.shapes)


def test_the_parameters_of_a_scene_hold_it(generator: torch.Generator) -> None:
    start = replace(random_sh(generator, 1, ()), primitive="tent", shapes=torch.rand(12, 1, generator=generator) + 1)
    parameters = scene_parameters(start)
    back = scene_gaussians(parameters, "tent")
    assert back.primitive == "tent" and back.shapes is not None and start.shapes is not None
    torch.testing.assert_close(back.shapes, start.shapes)


def test_files_keep_it_or_refuse_it(generator: torch.Generator, tmp_path: Path) -> None:
    start = replace(random_sh(generator, 1, ()), primitive="tent", shapes=torch.rand(12, 1, generator=generator) + 1)
    sl.write_splats(tmp_path / "tents.ply", start)
    back = sl.read_splats(tmp_path / "tents.ply")
    assert back.primitive == "tent" and back.shapes is not None and start.shapes is not None
    assert torch.equal(back.shapes, start.shapes)
    for ending in ("spz", "sog", "splat", "glb", "sl3", "compressed.ply"):
        with pytest.raises(InputError, match="gaussians: expected plain Gaussians for .*, which holds no 'tent'"):
            sl.write_splats(tmp_path / f"tents.{ending}", start.with_degree(0))
    with pytest.raises(InputError, match="gaussians: expected plain Gaussians"):
        sl.compress(start, "1MB")
