"""The fit of splats to one object: views of it, first splats on its surface, and steps of the loop of scenes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from splatlearn.core.errors import SplatlearnError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneRates, SceneSchedule
from splatlearn.fitting.strategies.still import StillStrategy
from splatlearn.reconstruction.objects.recipe import ObjectFitOptions
from splatlearn.reconstruction.objects.sources import Surfaced, Up
from splatlearn.reconstruction.objects.starting import splats_on
from splatlearn.reconstruction.objects.views import ObjectViews, cameras_around, in_unit_ball, look_around
from splatlearn.rendering import render

HELD_OUT = 6
"""Number of views that are scored and not fitted."""
RATES = SceneRates(position=6e-3, position_last=6e-4, color=2e-2, opacity=0.1, scale=0.05, rotation=0.03)
"""Adam's steps: larger than those of long fits of scenes, since there are few steps and splats start in place."""


class ObjectError(SplatlearnError):
    """An object cannot be fitted."""


@dataclass(frozen=True, eq=False)
class FittedObject:
    """Splats of an object.

    - `gaussians` [K]: with harmonics of degree 0, in the ball of radius 1, −y up.
    - `psnr`: the mean over held-out views on white, in dB; `inside`: of the pixels that the object covers alone.
    - `start_psnr`: `psnr` before the first step.
    - `picture_seconds`, `fit_seconds`: for its pictures, and for steps and scores.
    """

    gaussians: Gaussians
    psnr: float
    inside: float
    start_psnr: float
    picture_seconds: float
    fit_seconds: float


def fit_object(shape: Surfaced, options: ObjectFitOptions, seed: int, up: Up | None = None) -> FittedObject:
    """Fit splats to a mesh.

    - `seed`: of the order of views and of the backgrounds; `up`: the axis of the mesh that points up, by default that
      of its format.

    The splats are a function of the arguments, bit for bit for any number of threads on one kind of processor. Raises
    ObjectError where no view shows a pixel, and for a loss that is not finite.
    """
    began = time.perf_counter()
    mesh = in_unit_ball(shape.mesh, up or shape.up)
    is_shaded = options.light == "sun"
    fitted = look_around(mesh, cameras_around(options.views, options.size), is_shaded)
    held_out = look_around(mesh, cameras_around(HELD_OUT, options.size, phase=0.5), is_shaded)
    if not len(fitted.surface.points):
        raise ObjectError("expected a shape that views show, got one that covers no pixel; it has no area")
    pictured = time.perf_counter()
    start = splats_on(fitted.surface, options.splats)
    gaussians = descend(start, fitted, options, seed)
    psnr, inside = scores(gaussians, held_out)
    return FittedObject(
        gaussians=gaussians,
        psnr=psnr,
        inside=inside,
        start_psnr=scores(start, held_out)[0],
        picture_seconds=pictured - began,
        fit_seconds=time.perf_counter() - pictured,
    )


def descend(start: Gaussians, views: ObjectViews, options: ObjectFitOptions, seed: int) -> Gaussians:
    """Return splats after the steps of a fit, each towards some of the views over random backgrounds.

    Their number stays. Views come in a random order, all of them before one comes again.
    """
    schedule = SceneSchedule(steps=max(1, options.steps), rates=RATES, anneal=0.5, degree=0, seed=seed)
    fit = SceneFit(start, 1.0, StillStrategy(), schedule)
    each = min(options.views_per_step, options.views)
    waiting: list[int] = []
    for number in range(1, options.steps + 1):
        draws = Draws(seed, number)
        if len(waiting) < each:
            waiting += draws.uniforms(Draw.SUBSET, options.views).argsort(stable=True).tolist()
        now, waiting = torch.tensor(waiting[:each]), waiting[each:]
        # Colours behind that change show where the object is opaque.
        result = fit.step(views.cameras[now], views.pictures[now], background=draws.background(each))
        if result.skipped:
            raise ObjectError(f"the loss of step {number} is not finite")
    return fit.gaussians().detach()


def scores(gaussians: Gaussians, views: ObjectViews) -> tuple[float, float]:
    """Return PSNR over views on white, of whole pictures and of pixels that the object covers, in dB."""
    with torch.no_grad():
        made = render(gaussians, views.cameras, "white", depth=False, check=False).color
    alpha = views.pictures[:, 3:].float() / 255
    wanted = views.pictures[:, :3].float() / 255 * alpha + 1 - alpha
    errors = (made.clamp(0, 1) - wanted).square().mean(dim=1)
    covered = alpha[:, 0] > 0
    inside = (errors * covered).sum(dim=(1, 2)) / covered.sum(dim=(1, 2)).clamp_min(1)
    return _psnr(errors.mean(dim=(1, 2))), _psnr(inside)


def _psnr(errors: Tensor) -> float:
    return float((-10 * errors.clamp_min(1e-10).log10()).mean()) if errors.numel() else math.nan
