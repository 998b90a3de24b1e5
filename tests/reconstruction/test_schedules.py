"""Calendars of runs: the published one in 30,000 steps, the same shape in any other number."""

import json
from pathlib import Path
from typing import Any

import pytest

from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.reconstruction import CaptureOptions, SceneOptions, SceneRecipe, SceneRunOptions
from splatlearn.reconstruction.recipes.pace_options import PaceOptions
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.reconstruction.recipes.schedules import GROWN, schedule_of, strategy_of
from splatlearn.reconstruction.running.views import downscale_at, order_of_epoch


def recipe(preset: Preset = "default", **scene) -> SceneRecipe:
    return SceneRecipe(CaptureOptions("photos"), SceneRunOptions("run"), SceneOptions(**scene), preset).resolved()


def test_the_paper_preset_is_the_papers() -> None:
    made = recipe("paper")
    strategy, schedule = strategy_of(made, 1000, 3_000_000), schedule_of(made)
    assert isinstance(strategy, DefaultStrategy)
    assert strategy.options == DefaultOptions(cap=3_000_000)
    assert (schedule.steps, schedule.degree, schedule.degree_every, schedule.ssim_weight) == (30_000, 3, 1_000, 0.2)
    rates = schedule.rates
    assert (rates.position, rates.color, rates.opacity, rates.scale, rates.rotation) == (
        1.6e-4, 2.5e-3, 0.05, 5e-3, 1e-3,
    )  # fmt: skip
    assert rates.position_last == pytest.approx(1.6e-6)


@pytest.mark.parametrize("steps", [100, 2_000, 7_000, 20_000])
def test_short_runs_have_no_reset_that_they_could_not_recover_from(steps: int) -> None:
    strategy = strategy_of(recipe(strategy="default", steps=steps), 1000, 50_000)
    assert isinstance(strategy, DefaultStrategy)
    options = strategy.options
    assert options.reset_every >= min(1_000, options.stop)
    assert 0 <= options.start < options.stop <= steps // 2 + 1
    assert options.every <= max(1, steps // 40)


@pytest.mark.parametrize("start", [500, 40_000])
@pytest.mark.parametrize("steps", [200, 7_000])
def test_growth_reaches_the_cap_when_it_should(steps: int, start: int) -> None:
    cap = 50_000
    strategy = strategy_of(recipe(strategy="mcmc", steps=steps), start, cap)
    assert isinstance(strategy, MCMCStrategy)
    options: MCMCOptions = strategy.options
    count, reached = start, None
    for number in range(1, steps + 1):
        if options.start < number < options.stop and number % options.every == 0:
            count = min(cap, max(int(options.growth * count), count + 1))
        if count == cap and reached is None:
            reached = number
    assert reached is not None
    assert reached <= (GROWN + 0.06) * steps
    assert start > 10_000 or reached >= (GROWN - 0.1) * steps


def test_fast_follows_a_budget_and_anneals_where_nothing_else_is_given() -> None:
    made = recipe("fast")
    strategy = strategy_of(made, 1000, 30_000)
    assert isinstance(strategy, DefaultStrategy) and strategy.options.budget is not None
    assert strategy.options.budget.exponent == 0.0 and schedule_of(made).anneal == 0.1
    assert isinstance(strategy_of(recipe("fast", strategy="mcmc"), 1000, 30_000), MCMCStrategy)
    own = SceneRecipe(
        CaptureOptions("photos"),
        SceneRunOptions("run"),
        preset="fast",
        pace=PaceOptions(budget_exponent="none", anneal=0),
    ).resolved()
    plain = strategy_of(own, 1000, 30_000)
    assert isinstance(plain, DefaultStrategy) and plain.options.budget is None and schedule_of(own).anneal == 0.0
    for preset in ("default", "quality", "paper"):
        assert (recipe(preset).pace.budget_exponent, recipe(preset).pace.anneal) == ("none", 0.0)


@pytest.mark.parametrize("pace", [None, {"stride": 2, "budget_exponent": None}])
def test_recipes_of_earlier_versions_have_no_budget_and_no_annealing(
    pace: dict[str, Any] | None, tmp_path: Path
) -> None:
    values = json.loads(recipe("fast").to_json())
    del values["pace"]
    if pace is not None:
        values["pace"] = pace
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    found = SceneRecipe.read(tmp_path / "recipe.json").resolved()
    assert (found.pace.budget_exponent, found.pace.anneal) == ("none", 0.0)
    assert found.pace.stride == (1 if pace is None else 2)
    (tmp_path / "recipe.json").write_text(recipe("fast").to_json())
    assert SceneRecipe.read(tmp_path / "recipe.json") == recipe("fast")


def test_photographs_are_small_at_first() -> None:
    downscales = [downscale_at(step, 100, 0.3) for step in range(100)]
    assert downscales == [4] * 15 + [2] * 15 + [1] * 70
    assert {downscale_at(step, 100, 0.0) for step in range(100)} == {1}


def test_an_epoch_sees_each_photograph_once() -> None:
    first, second = order_of_epoch(0, 0, 20), order_of_epoch(0, 1, 20)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != order_of_epoch(1, 1, 20)
    assert first == order_of_epoch(0, 0, 20)
