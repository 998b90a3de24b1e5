"""Copies at one place look like the one that they replace."""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext

import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.strategies.relocation import relocated
from splatlearn.rendering import render


def exact(opacity: float, n: int) -> tuple[float, float]:
    """Opacity, and the factor of scales, by the published double sum, whose terms nearly cancel, with 80 digits."""
    with localcontext(Context(prec=80)):
        o = 1 - (1 - Decimal(opacity)) ** (Decimal(1) / n)
        terms = [(-1) ** k * o ** (k + 1) / Decimal(k + 1).sqrt() for k in range(n)]
        total = sum(math.comb(i - 1, k) * terms[k] for i in range(1, n + 1) for k in range(i))
        return float(o), float(Decimal(opacity) / total)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 51, 120])
@pytest.mark.parametrize("opacity", [0.005, 0.3, 0.9, 0.999999])
def test_values_are_those_of_the_published_double_sum(opacity: float, n: int) -> None:
    value = float(torch.tensor(opacity))
    wanted, factor = exact(value, n)
    opacities, scales = relocated(torch.tensor([opacity]), torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([n]))
    assert float(opacities) == pytest.approx(wanted, rel=1e-6)
    torch.testing.assert_close(scales, factor * torch.tensor([[1.0, 2.0, 0.5]]), rtol=1e-6, atol=0)


def test_one_copy_is_the_gaussian_itself(generator: torch.Generator) -> None:
    opacities, scales = torch.rand(50, generator=generator), torch.rand(50, 3, generator=generator)
    new = relocated(opacities, scales, torch.ones(50, dtype=torch.int64))
    torch.testing.assert_close(new, (opacities, scales))


def test_many_copies_and_full_opacity_stay_finite() -> None:
    opacities = torch.tensor([1.0, 1.0, 0.0, 1e-30])
    new, scales = relocated(opacities, torch.ones(4, 3), torch.tensor([2, 100_000, 3, 100_000]))
    assert new.isfinite().all() and scales.isfinite().all() and (scales > 0).all()


@pytest.mark.parametrize("n", [2, 7, 51, 300])
@pytest.mark.parametrize("opacity", [0.02, 0.7, 0.999])
def test_the_peak_and_the_integral_of_alpha_stay(opacity: float, n: int) -> None:
    one = torch.tensor([opacity], dtype=torch.float64)
    opacities, scales = relocated(one, torch.ones(1, 3, dtype=torch.float64), torch.tensor([n]))
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    before = one * torch.exp(-0.5 * x.square())
    after = 1 - (1 - opacities * torch.exp(-0.5 * (x / scales[0, 0]).square())) ** n
    assert float(after.max()) == pytest.approx(opacity, rel=1e-9)
    assert float(torch.trapezoid(after, x)) == pytest.approx(float(torch.trapezoid(before, x)), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_the_picture_of_stacked_copies_is_that_of_the_one(n: int) -> None:
    one = Gaussians(
        torch.tensor([[0.1, -0.2, 0.0]]),
        torch.tensor([[1.2, 0.7, 0.9]]),
        torch.tensor([[0.9, 0.1, 0.3, -0.2]]),
        torch.tensor([0.8]),
        colors=torch.tensor([[0.9, 0.4, 0.2]]),
    )
    opacities, scales = relocated(one.opacities, one.scales, torch.tensor([n]))
    copies = Gaussians(
        *(each.repeat(n, *[1] * (each.ndim - 1)) for each in (one.means, scales, one.quaternions, opacities)),
        colors=torch.tensor([[0.9, 0.4, 0.2]]).repeat(n, 1),
    )
    camera = Camera(64, 64, 60.0, 60.0, 32.0, 32.0)
    view = camera.viewmats.clone()
    view[2, 3] = 4.0
    camera = Camera(64, 64, 60.0, 60.0, 32.0, 32.0, viewmats=view)
    first, second = (render(each, camera, "black", depth=False) for each in (one, copies))
    # α agrees at the centre, its integral along lines through it; between, shapes differ a little, and faint rims of
    # copies fall below the smallest α.
    peak = first.alpha.flatten().argmax()
    assert float(second.alpha.flatten()[peak]) == pytest.approx(float(first.alpha.flatten()[peak]), abs=5e-3)
    assert float((first.alpha - second.alpha).abs().max()) < 0.15
    unscaled = render(
        Gaussians(
            copies.means,
            one.scales.expand(n, 3).contiguous(),
            copies.quaternions,
            copies.opacities,
            colors=copies.colors,
        ),
        camera,
        "black",
        depth=False,
    )
    assert (first.alpha - second.alpha).abs().mean() < 0.5 * (first.alpha - unscaled.alpha).abs().mean()
