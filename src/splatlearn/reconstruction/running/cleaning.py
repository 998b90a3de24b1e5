"""Removal of floaters during a run."""

from __future__ import annotations

from collections.abc import Iterable

from splatlearn.core.cameras import Camera
from splatlearn.fitting.cleaning.floaters import find_floaters
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.reconstruction.results.evaluator import on_device

REMOVED_AT = (0.5, 0.75, 0.9)
"""Fractions of the steps after which floaters are removed: the steps that follow close what they leave open."""


def removes_floaters_after(step: int, steps: int) -> bool:
    """Whether floaters are removed after step `step`, counted from 1, of `steps`."""
    return step in {max(1, round(share * steps)) for share in REMOVED_AT}


def remove_floaters(fit: SceneFit, cameras: Iterable[Camera]) -> int:
    """Remove the floaters of a fit, seen by the cameras of its photographs; returns how many."""
    gaussians = fit.gaussians().detach()
    here = (on_device(each, gaussians.means.device) for each in cameras)
    return fit.keep(find_floaters(gaussians, here, filter=fit.filter).kept)
