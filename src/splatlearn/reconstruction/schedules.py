"""From a recipe to the parts of a fit: rates, the strategy, and its calendar in a run of any length."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.fitting.scene_fit import SceneSchedule
from splatlearn.fitting.scene_rates import SceneRates
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.strategy import Strategy
from splatlearn.reconstruction.recipe import SceneRecipe

PAPER_STEPS = 30_000
"""Steps for which the published calendars were made."""
GROWN = 0.4
"""Fraction of the steps after which MCMC's growth has reached the cap."""
EVERY = 100
"""Steps between edits, in runs of at least `FEWEST_EDITS` times as many; shorter runs edit more often."""
FEWEST_EDITS = 40
DEGREES = 0.15
"""Fraction of the steps after which the degree of harmonics rises by one, at most the published 1,000 steps."""


def schedule_of(recipe: SceneRecipe) -> SceneSchedule:
    """The schedule of a resolved recipe."""
    scene, steps = recipe.scene, recipe.schedule_steps
    assert steps is not None and scene.degree is not None
    assert scene.position_rate is not None and scene.rate is not None
    usual = SceneRates()
    rates = SceneRates(
        position=scene.position_rate,
        position_last=scene.position_rate / 100,
        color=scene.rate * usual.color,
        opacity=scene.rate * usual.opacity,
        scale=scene.rate * usual.scale,
        rotation=scene.rate * usual.rotation,
    )
    return SceneSchedule(
        steps=steps,
        rates=rates,
        degree=scene.degree,
        degree_every=1_000 if recipe.preset == "paper" else max(1, min(1_000, round(DEGREES * steps))),
        ssim_weight=scene.ssim_weight,
        seed=recipe.run.seed,
    )


def strategy_of(recipe: SceneRecipe, start: int, cap: int) -> Strategy:
    """The strategy of a resolved recipe for a start of `start` Gaussians, with a calendar as long as the run.

    - `cap`: the number of Gaussians that is never exceeded.

    In runs of 30,000 steps all numbers are the published ones, but for MCMC's growth, which reaches the cap after the
    same fraction of any run.
    """
    steps = recipe.schedule_steps
    assert steps is not None
    stretch = steps / PAPER_STEPS
    every = max(1, min(EVERY, steps // FEWEST_EDITS))
    if recipe.scene.strategy == "mcmc":
        begin, stop = _first_edit(steps), round(25_000 * stretch)
        edits = max(1, round((GROWN * steps - begin) / every))
        growth = 1.05 if recipe.preset == "paper" else max(1.0, (cap / max(1, start)) ** (1 / edits))
        return MCMCStrategy(MCMCOptions(cap=cap, growth=growth, start=begin, stop=stop, every=every))
    # Opacities need many steps to recover from a reset: short runs have none.
    options = DefaultOptions.for_steps(steps, cap, absgrad=recipe.scene.strategy == "absgrad")
    return DefaultStrategy(replace(options, start=_first_edit(steps), every=every))


def _first_edit(steps: int) -> int:
    return min(500, round(500 * steps / 7_000))
