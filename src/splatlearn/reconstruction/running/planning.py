"""Estimates of a run's memory and time, from some steps that are timed before it begins."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import psutil
import torch

from splatlearn.captures import Photographs
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.memory import available_memory, shown_bytes
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.recipes.schedules import (
    GROWN,
    robust_of,
    schedule_of,
    shapings_of,
    sky_of,
    strategy_of,
    terms_of,
)
from splatlearn.reconstruction.running.photos import smoothing_of
from splatlearn.reconstruction.running.starting import EXTENT
from splatlearn.reconstruction.running.view_models import ViewCorrections
from splatlearn.reconstruction.running.views import downscale_at, target_of

COPIES = 5
"""Copies of a Gaussian's parameters in a step: themselves, gradients, two moments, and activated values."""
RENDERER = 200
"""Bytes of the renderer for each Gaussian, and 40 for each pixel (`docs/performance.md`)."""
PIXEL = 40 + 100
"""Bytes for each pixel: of the renderer, and of the picture, the loss and its gradient."""
SHARE = 0.5
"""Share of the free memory that the Gaussians may take."""
TRIED = 3
"""Number of timed steps; the fastest counts."""
FEWEST_STEPS = 100


@dataclass(frozen=True)
class Expected:
    """The expected seconds of all steps, and the expected peak memory in bytes."""

    seconds: float
    memory: float

    def __str__(self) -> str:
        return f"expected: {shown_seconds(self.seconds)} and {shown_bytes(self.memory)} of memory"


def shown_seconds(seconds: float) -> str:
    """A time for people, as in "12 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def bytes_per_gaussian(degree: int) -> int:
    """The bytes that a Gaussian with harmonics of a degree takes during a step."""
    return COPIES * 4 * (11 + 3 * (degree + 1) ** 2) + RENDERER


def fitting_cap(cap: int, degree: int, photographs: Photographs) -> int:
    """The largest number of Gaussians, at most `cap`, for which memory has room."""
    room = SHARE * available_memory() - PIXEL * _pixels(photographs)
    return max(1, min(cap, int(room / bytes_per_gaussian(degree))))


def expected_cost(recipe: SceneRecipe, photographs: Photographs, fit: SceneFit, cap: int, total: int) -> Expected:
    """Estimate the remaining steps, by timing steps with the present and with the largest number of Gaussians."""
    now = fit.gaussians().detach()
    small, large = (
        step_seconds(recipe, photographs, each, cap) for each in (now, stand_in(now, _last_count(recipe, fit, cap)))
    )
    degree = recipe.scene.degree or 0
    photos = min(photographs.budget, photographs.all_bytes)
    process = psutil.Process().memory_info().rss
    memory = process + bytes_per_gaussian(degree) * cap + PIXEL * pixels_of_step(recipe, photographs) + photos
    done = fit.done
    seconds = sum(_seconds_of(recipe, step, total, small, large) for step in range(done, total))
    return Expected(seconds, memory)


def pixels_of_step(recipe: SceneRecipe, photographs: Photographs) -> int:
    """The largest number of pixels that a step renders, in all instants of exposures and without a stride."""
    exposures = 1 if recipe.views.shake == "none" else recipe.views.exposures
    return recipe.pace.views_per_step * exposures * _pixels(photographs)


def steps_in(
    seconds: float, recipe: SceneRecipe, photographs: Photographs, start: Gaussians, cap: int, device: torch.device
) -> int:
    """The number of steps that take about a number of seconds."""
    start = start.to(device)
    small = step_seconds(recipe, photographs, start, cap)
    large = step_seconds(recipe, photographs, stand_in(start, cap), cap)
    steps = 1_000
    trial = replace(recipe, schedule_steps=steps)
    mean = sum(_seconds_of(trial, step, steps, small, large) for step in range(steps)) / steps
    return max(FEWEST_STEPS, round(seconds / mean))


def step_seconds(recipe: SceneRecipe, photographs: Photographs, gaussians: Gaussians, cap: int) -> float:
    """Seconds of one step of a throw-away fit at the photographs' full size."""
    strategy = strategy_of(recipe, gaussians.count, max(cap, gaussians.count))
    degree = recipe.scene.degree or 0
    device = gaussians.means.device
    parts = strategy, schedule_of(recipe), terms_of(recipe), ViewCorrections(recipe, photographs, gaussians).models
    fit = SceneFit(
        gaussians.with_degree(degree), EXTENT, *parts, robust=robust_of(recipe), sky=sky_of(recipe),
        smoothing=smoothing_of(recipe, photographs), shapings=shapings_of(recipe),
        filter=recipe.scene.filter,
    )  # fmt: skip
    taken = []
    for number in range(len(photographs)):
        try:
            target = target_of(photographs[number])
        except UnreadableImage:
            # The run itself names it.
            continue
        camera = replace(target.camera, viewmats=target.camera.viewmats.to(gaussians.means))
        begun = time.perf_counter()
        fit.step(camera, target.pixels.to(device), views=torch.tensor([number]))
        taken.append(time.perf_counter() - begun)
        if len(taken) == TRIED:
            break
    if not taken:
        raise InputError(f"capture: expected photographs that can be read, got {len(photographs)} that cannot")
    return min(taken)


def stand_in(gaussians: Gaussians, count: int) -> Gaussians:
    """Return `count` Gaussians to time in place of a grown scene: scattered copies of the same total volume."""
    if gaussians.count == 0 or count <= gaussians.count:
        return gaussians
    rows = torch.arange(count, device=gaussians.means.device) % gaussians.count
    copies = gaussians.select(rows)
    spread = torch.Generator().manual_seed(0)
    noise = torch.randn(copies.means.shape, generator=spread).to(copies.means)
    shrink = (gaussians.count / count) ** (1 / 3)
    return replace(copies, means=copies.means + noise * copies.scales, scales=copies.scales * shrink)


def _seconds_of(recipe: SceneRecipe, step: int, total: int, small: float, large: float) -> float:
    """Seconds of a step: the number of Gaussians rises by a factor, coarse steps see fewer pixels."""
    steps = recipe.schedule_steps or total
    grown = min(1.0, step / max(1.0, GROWN * steps))
    whole = small * math.pow(max(large, small) / small, grown)
    downscale = downscale_at(step, steps, recipe.scene.coarse or 0.0)
    pixels = 1 / downscale**2 if downscale > 1 else 1 / recipe.pace.stride**2
    # About half of a step's time is spent per Gaussian, and half per pixel.
    return recipe.pace.views_per_step * whole * (0.5 + 0.5 * pixels)


def _last_count(recipe: SceneRecipe, fit: SceneFit, cap: int) -> int:
    return max(cap, fit.optimizer.count) if recipe.scene.strategy == "mcmc" else min(cap, 5 * fit.optimizer.count)


def _pixels(photographs: Photographs) -> int:
    return max(
        (photographs.camera(index).width * photographs.camera(index).height for index in range(len(photographs))),
        default=0,
    )
