"""The curve of a budget, its exponent, and the slopes of a loss."""

from __future__ import annotations

import math

import pytest
import torch

from splatlearn.core.errors import InputError
from splatlearn.fitting.strategies.budget import SWING, Budget, LossSlopes

EXPONENTS = (-3.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 2.5)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_curve_begins_and_ends_at_its_ends_and_rises(exponent: float) -> None:
    budget = Budget(1_234, 98_765, exponent)
    assert (budget.at(0.0), budget.at(1.0)) == (1_234, 98_765)
    assert (budget.at(-0.5), budget.at(1.5)) == (1_234, 98_765)
    curve = [budget.at(index / 50) for index in range(51)]
    assert all(before <= after for before, after in zip(curve, curve[1:], strict=False))


def test_the_curve_is_that_of_the_paper_and_logarithmic_at_exponent_0() -> None:
    for exponent in (-2.0, -0.5, 0.5, 1.0, 2.0):
        budget = Budget(0, 10**9, exponent)
        for time in (1.0, 2.0, 10.0, 50.0, 100.0):
            paper = (time**exponent - 1) / (100.0**exponent - 1)
            assert budget.at((time - 1) / 99) / 1e9 == pytest.approx(paper, abs=1e-9)
    for exponent in (-1e-9, 0.0, 1e-9):
        assert Budget(0, 10**9, exponent).at(9 / 99) / 1e9 == pytest.approx(math.log(10) / math.log(100), abs=1e-7)


def test_a_smaller_exponent_grows_earlier() -> None:
    at_half = [Budget(0, 10**6, exponent).at(0.5) for exponent in sorted(EXPONENTS)]
    assert at_half == sorted(at_half, reverse=True)
    assert Budget(0, 10**6, 1.0).at(0.5) == 500_000
    assert Budget(0, 10**6, 0.5).at(0.5, 0.5) == 500_000


def slopes(losses: list[float]) -> LossSlopes:
    made = LossSlopes()
    for number, loss in enumerate(losses, 1):
        made.add(number, loss)
    return made


def test_the_exponent_follows_how_the_loss_falls() -> None:
    steady = slopes([number**-0.3 for number in range(1, 2_001)])
    assert steady.change() == pytest.approx(0.0, abs=1e-6)
    slowing = slopes([max(number, 20) ** -0.4 if number < 1_000 else 1_000**-0.4 for number in range(1, 2_001)])
    quickening = slopes([1.0 if number < 1_000 else (number / 1_000) ** -0.8 for number in range(1, 2_001)])
    assert -SWING < slowing.change() < -0.05 < 0.05 < quickening.change() < SWING
    assert slopes([0.5] * 150).change() == 0.0, "too few steps to tell"
    assert slopes([0.5] * 2_000).change() == pytest.approx(0.0, abs=1e-9)
    assert math.isfinite(slopes([math.nan, 0.0, math.inf] * 700).change())


def test_slopes_are_those_of_least_squares(generator: torch.Generator) -> None:
    losses = (0.3 * torch.randn(600, generator=generator, dtype=torch.float64)).exp().tolist()
    made = slopes(losses)
    numbers = range(101, 601)
    x = torch.tensor([math.log(number) for number in numbers], dtype=torch.float64)
    y = torch.tensor([math.log(losses[number - 1]) for number in numbers], dtype=torch.float64)
    kept = torch.tensor([math.exp(-1 / max(100, number / 4)) for number in numbers], dtype=torch.float64)
    later = kept.flip(0).cumprod(0).flip(0)
    weights = torch.stack([torch.ones(500, dtype=torch.float64), torch.cat([later[1:], later.new_ones(1)])])
    found = []
    for each in weights:
        root = each.sqrt()
        design = torch.stack([torch.ones_like(x), x], dim=1) * root[:, None]
        found.append(-float(torch.linalg.lstsq(design, (y * root)[:, None]).solution[1]))
    assert made.change() == pytest.approx(SWING * math.tanh(found[1] - found[0]), rel=1e-6)


def test_errors_name_the_field() -> None:
    with pytest.raises(InputError, match="last: expected"):
        Budget(0, 0)
    with pytest.raises(InputError, match="exponent: expected"):
        Budget(0, 10, math.nan)
