"""Compiled convexes against the specification in float64: every output and gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rendering.compiled import CPU, Compiled, relative_error
from rendering.convexes import camera, convexes
from splatlearn.core.cameras import PixelGrid
from splatlearn.rendering import Splats, composite, project, render
from splatlearn.rendering.backends.cpu import support as cpu_support

pytestmark = pytest.mark.skipif(cpu_support.status() != "ok", reason=cpu_support.status())


@pytest.fixture(params=CPU)
def instructions(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    with request.param.active():
        yield request.param


def splats_of(generator: torch.Generator, count: int, points: int, channels: int, size: tuple[int, int]) -> Splats:
    """Convexes on the images of two sets, in float64 of float32's values."""
    made = convexes(count, generator, points, (2,))
    made = replace(made, colors=torch.rand(2, count, channels, generator=generator, dtype=torch.float64))
    return project(made, camera(*size)).map(lambda each: each.detach().float().double())


def results(splats: Splats, size: tuple[int, int], backend: str, dtype: torch.dtype) -> list[Tensor]:
    """Colour, transmittance, and the gradients of means2d, packed parameters, opacities, colours and background."""
    given = splats.means2d, splats.packed, splats.opacities, splats.colors
    means2d, packed, opacities, colors = inputs = [each.to(dtype).clone().requires_grad_() for each in given]
    behind = torch.linspace(0.2, 0.8, colors.shape[-1], dtype=dtype).expand(2, -1).clone().requires_grad_()
    made = replace(
        splats, means2d=means2d, conics=packed[..., :3], shapes=packed[..., 3:], opacities=opacities, colors=colors,
        depths=splats.depths.to(dtype),
    )  # fmt: skip
    color, transmittance = composite(made, *size, behind, backend)
    generator = torch.Generator().manual_seed(1)
    outputs = color, transmittance
    toward = [torch.randn(each.shape, generator=generator, dtype=torch.float64).to(dtype) for each in outputs]
    torch.autograd.backward(outputs, toward)
    return [color.detach(), transmittance.detach(), *(each.grad for each in (*inputs, behind) if each.grad is not None)]


@pytest.mark.parametrize(
    ("count", "points", "channels", "size"), [(1, 3, 1, (5, 7)), (60, 8, 3, (40, 37)), (25, 5, 16, (16, 33))]
)
def test_every_output_and_gradient(
    instructions: Compiled, count: int, points: int, channels: int, size: tuple[int, int], generator: torch.Generator
) -> None:
    splats = splats_of(generator, count, points, channels, size)
    exact = results(splats, size, "torch", torch.float64)
    made = results(splats, size, "cpu", torch.float32)
    assert len(exact) == len(made) == 7 and float(exact[1].min()) < 0.9
    for one, other in zip(made, exact, strict=True):
        # A pixel whose α is at the cut-off by a rounding differs by 1/255.
        off = (one.double() - other).abs() > 1e-4 * (1 + other.abs().max())
        assert float(off.double().mean()) < 2e-3
        assert relative_error(one, other) < 5e-3
    assert not made[3][..., :3].any(), "α does not depend on the conic"


def test_pixels_of_a_grid_are_those_of_the_picture(instructions: Compiled, generator: torch.Generator) -> None:
    splats = splats_of(generator, 30, 6, 3, (50, 41)).map(lambda each: each.float())
    whole, _ = composite(splats, 50, 41, backend="cpu")
    for grid in (PixelGrid(2, 1, 0), PixelGrid(3, 0, 2)):
        assert torch.equal(composite(splats, 50, 41, backend="cpu", grid=grid)[0], grid.of(whole))


def test_a_step_is_the_same_for_any_number_of_threads(generator: torch.Generator) -> None:
    splats = splats_of(generator, 60, 6, 3, (40, 37))
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(results(splats, (40, 37), "cpu", torch.float32))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_it_is_chosen_and_what_is_not_finite_stays_visible(generator: torch.Generator) -> None:
    made = convexes(5, generator).map(lambda each: each.float())
    assert torch.equal(render(made, camera()).color, render(made, camera(), backend="cpu").color)
    splats = splats_of(generator, 5, 6, 3, (20, 20)).map(lambda each: each.float())
    broken = replace(splats, colors=splats.colors.clone())
    broken.colors[1, 2, 0] = torch.nan
    color, _ = composite(broken, 20, 20, backend="cpu", check=False)
    assert bool(color[0].isfinite().all()) and bool(color[1].isnan().all())
