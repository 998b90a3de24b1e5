"""Generalised exponentials by arithmetic of their own, and beside Gaussians, which they are at an exponent of 2."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import as_primitive, project, render
from splatlearn.rendering.backends.torch.primitives.ges import GeneralisedExponential, energy
from splatlearn.rendering.splats import Splats


def exponentials(generator: torch.Generator, count: int = 12, dtype: torch.dtype = torch.float64) -> Gaussians:
    """Sets [K] with exponents from 1 to 8."""
    made = random_gaussians(generator, (), count, dtype=dtype)
    exponents = 8.0 ** torch.rand(count, 1, generator=generator, dtype=torch.float64)
    return replace(made, primitive="ges", shapes=exponents.to(dtype))


@pytest.mark.parametrize("filter", ["point", "mip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exponent_of_2_is_the_gaussian_to_the_bit(
    dtype: torch.dtype, filter: str, generator: torch.Generator
) -> None:
    plain, camera = random_gaussians(generator, (2,), dtype=dtype), Camera.gmae(20, 17)

    def drawn(primitive: str) -> list[Tensor]:
        leaves = plain.map(lambda each: each.clone().requires_grad_())
        shown = render(leaves, camera, backend="torch", primitive=primitive, filter=filter)
        assert shown.depth is not None
        (shown.color.square().sum() + shown.depth.sum()).backward()
        return [shown.color, shown.alpha, shown.depth, *(each.grad for each in leaves.tensors().values())]  # pyright: ignore[reportReturnType]

    for one, other in zip(drawn("gaussian"), drawn("ges"), strict=True):
        assert torch.equal(one, other)


def test_alpha_is_the_formula(generator: torch.Generator) -> None:
    one, camera = exponentials(generator, 1), Camera.gmae(16, 12)
    one = replace(one, means=one.means * 0.3)
    splats = project(one.reshape_batch(1), camera)
    a, b, c = splats.conics[0, 0].tolist()
    assert one.shapes is not None
    exponent, opacity = float(one.shapes), float(one.opacities)
    alpha = render(one, camera).alpha
    for row, column in ((0, 0), (7, 6), (9, 3), (15, 11)):
        dx, dy = column + 0.5 - float(splats.means2d[0, 0, 0]), row + 0.5 - float(splats.means2d[0, 0, 1])
        form = a * dx * dx + 2 * b * dx * dy + c * dy * dy
        expected = min(0.999, opacity * math.exp(-0.5 * form ** (exponent / 2)))
        assert float(alpha[row, column]) == pytest.approx(expected if expected >= 1 / 255 else 0.0, rel=1e-9)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 4.0, 8.0])
def test_the_energy_is_that_of_quadrature(exponent: float) -> None:
    radii = torch.linspace(0, 60, 600_001, dtype=torch.float64)
    numbers = torch.full((1, 1, 1, 1), exponent, dtype=torch.float64)
    falloff = GeneralisedExponential().falloff(0.5 * radii[None, None] ** 2, numbers)
    expected = 2 * math.pi * torch.trapezoid(radii * falloff[0, 0], radii)
    assert energy(exponent) == pytest.approx(float(expected), rel=1e-6)


def test_the_filter_mip_keeps_the_integral(generator: torch.Generator) -> None:
    """Which is energy(β) · opacity · √det Σ in squares of a pixel, whatever the size of the picture."""
    gaussians = exponentials(generator).reshape_batch(1)
    areas = []
    for size in (16, 160):
        splats = project(gaussians, Camera.gmae(size, size), filter="mip")
        a, b, c = splats.conics.unbind(-1)
        areas.append(splats.opacities / (a * c - b * b).sqrt() / size**2)
        assert splats.shapes is not None
    torch.testing.assert_close(areas[0], areas[1])


def test_gradients_are_those_of_finite_differences(generator: torch.Generator) -> None:
    gaussians, camera = exponentials(generator, 3), Camera.gmae(6, 5)
    target = torch.rand(3, 6, 5, generator=generator, dtype=torch.float64)
    leaves = [each.clone().requires_grad_() for each in gaussians.tensors().values()]
    names = [*gaussians.tensors()]

    def loss(*tensors: Tensor) -> Tensor:
        made = replace(gaussians, **dict(zip(names, tensors, strict=True)))
        return (render(made, camera, "white", "torch", depth=False, check=False).color - target).square().sum()

    assert torch.autograd.gradcheck(loss, leaves, atol=1e-6)


@pytest.mark.parametrize("exponent", [1e-3, 0.3, 1.0, 8.0, 300.0])
def test_extreme_numbers_stay_finite(exponent: float) -> None:
    splats = Splats(
        torch.tensor([[[4.5, 4.5], [4.5, 4.5], [1e6, 4.0]]]),
        torch.tensor([[[400.0, 0.0, 400.0], [1e-8, 0.0, 1e-8], [1.0, 0.0, 1.0]]]),
        torch.ones(1, 3),
        torch.rand(1, 3, 3),
        torch.tensor([[1.0, 0.5, 1.0]]),
        torch.full((1, 3, 1), exponent),
        "ges",
    ).map(lambda each: each.requires_grad_())
    from splatlearn.rendering import composite

    color, transmittance = composite(splats, 9, 9, backend="torch")
    (color.sum() + transmittance.sum()).backward()
    for name, each in splats.tensors().items():
        assert name == "depths" or (each.grad is not None and bool(each.grad.isfinite().all())), name
    assert bool(color.isfinite().all())


def test_exponents_that_are_not_valid_are_refused(generator: torch.Generator) -> None:
    made = replace(exponentials(generator), shapes=torch.zeros(12, 1, dtype=torch.float64))
    with pytest.raises(InputError, match="shapes: expected exponents above 0, got 0"):
        render(made, Camera.gmae(4, 4))


def test_an_optimiser_moves_unbounded_numbers() -> None:
    ges = GeneralisedExponential()
    shapes = torch.tensor([[1.0], [1.3], [2.0], [8.0]], dtype=torch.float64)
    numbers = ges.free(shapes)
    assert bool(numbers.isfinite().all())
    torch.testing.assert_close(ges.bound(numbers), shapes)
    reached = ges.bound(torch.tensor([[-1e3], [1e3]], dtype=torch.float64))
    torch.testing.assert_close(reached, torch.tensor([[1.0], [8.0]], dtype=torch.float64))


def test_panoramas_show_them(generator: torch.Generator) -> None:
    plain, camera = random_gaussians(generator, ()), Camera.panorama(16, 32)
    plain = replace(plain, means=3 * plain.means)
    same = render(as_primitive(plain, "ges"), camera, backend="torch").color
    assert torch.equal(same, render(plain, camera, backend="torch").color)
    bent = replace(as_primitive(plain, "ges"), shapes=torch.full((12, 1), 4.0))
    assert not torch.equal(render(bent, camera, backend="torch").color, same)
