"""From a recipe to the parts of a fit: rates, the strategy, and its calendar in a run of any length."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.captures import Capture
from splatlearn.core.errors import InputError
from splatlearn.fitting.compaction.mask import Mask
from splatlearn.fitting.compaction.rounding import Rounding
from splatlearn.fitting.compaction.shaping import Shaping
from splatlearn.fitting.losses.robust import RobustWeights
from splatlearn.fitting.scene_schedule import SceneRates, SceneSchedule
from splatlearn.fitting.skies.sky import Sky
from splatlearn.fitting.strategies.budget import Budget
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.sharpness import SharpnessOptions, SharpnessStrategy
from splatlearn.fitting.strategies.strategy import Strategy
from splatlearn.fitting.terms.depth import DepthTerm
from splatlearn.fitting.terms.frequencies import FrequencyModulation
from splatlearn.fitting.terms.grid import GridSmoothness
from splatlearn.fitting.terms.normals import NormalConsistency
from splatlearn.fitting.terms.regularisers import Distortion, OpacityEntropy, SmoothDepth
from splatlearn.fitting.terms.term import Term
from splatlearn.fitting.terms.weight import Weight
from splatlearn.reconstruction.recipes.recipe import SceneRecipe

GROWN = 0.4
"""Fraction of the steps after which MCMC's growth has reached the cap."""
DEPTH_FALL = 10
"""Divisor of the weight of known depths in the last step."""
NORMALS_FROM = 0.25
"""Fraction of the steps from which on normals are compared."""
ROUNDED_FROM = 0.5
"""Fraction of the steps from which on numbers are rounded."""
SORTS = 10
"""Number of times that Gaussians are sorted onto a grid; published are 30, in a run that takes hours."""
DEGREES = 0.15
"""Fraction of the steps after which the degree of harmonics rises by one, at most the published 1,000 steps."""


def schedule_of(recipe: SceneRecipe) -> SceneSchedule:
    """The schedule of a resolved recipe."""
    scene, steps, anneal = recipe.scene, recipe.schedule_steps, recipe.pace.anneal
    assert steps is not None and scene.degree is not None and anneal is not None
    assert scene.position_rate is not None and scene.rate is not None
    usual = SceneRates()
    rates = SceneRates(
        position=scene.position_rate,
        position_last=scene.position_rate / 100,
        color=scene.rate * usual.color,
        opacity=scene.rate * usual.opacity,
        scale=scene.rate * usual.scale,
        rotation=scene.rate * usual.rotation,
        shape=scene.rate * usual.shape,
    )
    return SceneSchedule(
        steps=steps,
        rates=rates,
        anneal=anneal,
        degree=scene.degree,
        degree_every=1_000 if recipe.preset == "paper" else max(1, min(1_000, round(DEGREES * steps))),
        ssim_weight=scene.ssim_weight,
        seed=recipe.run.seed,
    )


def strategy_of(recipe: SceneRecipe, start: int, cap: int) -> Strategy:
    """The strategy of a resolved recipe for a start of `start` Gaussians.

    - `cap`: the number of Gaussians that is never exceeded.

    The numbers are the published ones, with fewer steps in shorter runs. MCMC's growth differs unless the preset is
    "paper": it reaches the cap after the same fraction of any run.
    """
    steps, name = recipe.schedule_steps, recipe.scene.strategy
    assert steps is not None
    pace = recipe.pace
    if name == "sharpness":
        exponent = pace.budget_exponent if isinstance(pace.budget_exponent, int | float) else 1.0
        return SharpnessStrategy(SharpnessOptions.for_steps(steps, Budget(start, max(start, cap), exponent)))
    if name != "mcmc":
        usual = DefaultOptions.for_steps(steps, cap, absgrad=name == "absgrad")
        exponent = pace.budget_exponent
        budget = None
        if exponent is not None and exponent != "none":
            budget = Budget(start, max(start, cap), exponent, pace.budget_adapts)
        more = {"color_share": pace.color_growth, "cross_rays": pace.cross_rays, "prune_share": pace.prune}
        return DefaultStrategy(replace(usual, budget=budget, **more))
    options = MCMCOptions.for_steps(steps, cap)
    if recipe.preset == "paper":
        return MCMCStrategy(options)
    edits = max(1, round((GROWN * steps - options.start) / options.every))
    return MCMCStrategy(replace(options, growth=max(1.0, (cap / max(1, start)) ** (1 / edits))))


def terms_of(recipe: SceneRecipe) -> tuple[Term, ...]:
    """The loss terms of a resolved recipe, those whose weight is above 0."""
    terms, steps = recipe.terms, recipe.schedule_steps
    assert steps is not None
    found: list[Term] = []
    if terms.depth_weight > 0:
        # Pictures decide in the end: sensors and points are coarser than the scene that photographs show.
        first, last = terms.depth_weight, terms.depth_weight / DEPTH_FALL
        found.append(DepthTerm(Weight(first, last, end=steps) if steps > 1 else Weight(first)))
    kinds = {"smooth_depth": SmoothDepth, "distortion": Distortion, "entropy": OpacityEntropy}
    if terms.normals > 0:
        # Discs lie anyhow at first: their normals mean something once the pictures have placed them.
        found.append(NormalConsistency(Weight(terms.normals, begin=max(1, round(NORMALS_FROM * steps)))))
    if terms.frequencies > 0:
        found.append(FrequencyModulation(Weight(terms.frequencies), steps))
    found += [kind(Weight(getattr(terms, name))) for name, kind in kinds.items() if getattr(terms, name) > 0]
    if recipe.small.grid > 0:
        found.append(GridSmoothness(Weight(recipe.small.grid), max(1, steps // SORTS)))
    return tuple(found)


def shapings_of(recipe: SceneRecipe) -> tuple[Shaping, ...]:
    """What changes the Gaussians of a resolved recipe before they are drawn."""
    small, steps = recipe.small, recipe.schedule_steps
    assert steps is not None
    found: list[Shaping] = []
    if small.rounding > 0:
        found.append(Rounding(small.rounding, max(1, round(ROUNDED_FROM * steps))))
    if small.mask > 0:
        found.append(Mask(small.mask, steps))
    return tuple(found)


def robust_of(recipe: SceneRecipe) -> RobustWeights | None:
    """The weights of pixels of a resolved recipe, None where all pixels count alike."""
    return RobustWeights() if recipe.terms.robust else None


def sky_of(recipe: SceneRecipe, capture: Capture | None = None) -> Sky | None:
    """The sky of a resolved recipe, None without one; raises InputError for transparent photographs of `capture`."""
    if recipe.scene.background != "sky":
        return None
    transparent = [view.name for view in (capture.views if capture else ()) if view.has_alpha]
    if transparent:
        raise InputError(
            f"background: expected photographs that show a sky, got transparent ones such as {transparent[0]}; use auto"
        )
    return Sky()
