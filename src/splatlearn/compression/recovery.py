"""Recovery: fewer Gaussians, or lower harmonics, fitted to the pictures of the scene that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import middle_and_radius
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_whole
from splatlearn.core.randomness import Purpose, generator
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneRates, SceneSchedule
from splatlearn.fitting.strategies.still import StillStrategy
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

RATES = SceneRates(position=1.6e-5, position_last=1.6e-6, color=2.5e-3, opacity=0.025, scale=5e-3, rotation=1e-3)
"""First rates: those of the last steps of 3D Gaussian Splatting, ten times as fast for positions."""
LAST = 0.1
"""Share of the first rates that the last step has; they fall along half a cosine."""


def recover(
    student: Gaussians,
    teacher: Gaussians,
    cameras: Sequence[Camera],
    steps: int,
    *,
    background: Background = "black",
    filter: str = "point",
    seed: int = 0,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Gaussians:
    """Fit Gaussians [K'] to the pictures of others [K], and return them as they are after some steps.

    - `student`: what is fitted: Gaussians that pruning left (LightGaussian's recovery), or with harmonics of a lower
      degree (its distillation). Their number and degree stay.
    - `teacher`: the scene whose pictures are the targets.
    - `cameras`: single ones; a step sees one, and all of them in a random order before one comes again.
    - `background`, `filter`: of all pictures; see `render`.
    - `seed`: of the order; `told` is called after each step with the number of steps done and their total.

    The loss is that of 3D Gaussian Splatting. The result for no steps is the student. Raises InputError without
    cameras, and for a number of steps below 0.
    """
    check_whole("steps", steps, 0)
    if not cameras:
        raise InputError("cameras: expected at least one, got none; surrounding_cameras makes some")
    if not steps:
        return student
    student, teacher = student.detach(), teacher.detach()
    with torch.no_grad():
        pictures = [
            render(teacher, camera, background, depth=False, check=False, filter=filter).color.clamp(0, 1)[None]
            for camera in cameras
        ]
    _, radius = middle_and_radius(student.means, student.opacities)
    schedule = SceneSchedule(steps=steps, rates=RATES, degree=student.degree, seed=seed)
    # The Gaussians of a student are as wide as photographs need them already.
    fit = SceneFit(student, radius, StillStrategy(), schedule, filter=filter)
    for step in range(steps):
        fit.schedule = replace(schedule, rates=_rates_at(step / steps))
        epoch, place = divmod(step, len(cameras))
        index = int(generator(seed, epoch, 0, Purpose.ORDER).permutation(len(cameras))[place])
        camera = cameras[index]
        batch = replace(camera, viewmats=camera.viewmats[None])
        fit.step(batch, pictures[index], background=background)
        told(step + 1, steps)
    return fit.gaussians().detach()


def _rates_at(done: float) -> SceneRates:
    """The rates after a share of the steps; those of positions fall by themselves."""
    share = LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * done))
    names = ("color", "opacity", "scale", "rotation")
    return replace(RATES, **{name: share * getattr(RATES, name) for name in names})
