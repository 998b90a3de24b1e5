"""The reconstruction of a scene as one call."""

from __future__ import annotations

from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from splatlearn.captures import Capture
from splatlearn.core.errors import InputError
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.reconstruction.recipes.recipe import GROUPS, SceneRecipe
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.results.scene_run import SceneResult, is_scene_run
from splatlearn.reconstruction.running.job import run_recipe
from splatlearn.runs.folder import RECIPE


def reconstruct(
    capture: Capture | str | PathLike[str], out: str | PathLike[str], *, preset: Preset = "default", **options: Any
) -> SceneResult:
    """Reconstruct a scene of Gaussians from photographs with known cameras, into a run folder.

    - `capture`: what `load_capture` returned, or the path of a capture.
    - `out`: the folder of the run; `resume=True` goes on with one, and with its options but for those that are given.
    - `preset`: "fast", "default", "quality" or "paper".
    - `options`: fields of `SceneOptions` and the other groups of a `SceneRecipe` by name, such as `steps=2000`; those
      of the command `splatlearn reconstruct`.

    The result has `gaussians` in the capture's coordinates and the `scores` of held-out photographs. Raises InputError
    for an unknown option, and what `run_recipe` raises.
    """
    known = {field.name: part for part, kind in GROUPS.items() for field in fields(kind)}
    unknown = [name for name in options if name not in known or name in ("photos", "out")]
    if unknown:
        raise InputError(
            f"options: expected some of {', '.join(sorted(set(known) - {'photos', 'out'}))}, got {unknown[0]}"
        )
    photos = str(capture.folder) if isinstance(capture, Capture) else str(capture)
    given: dict[str, dict[str, Any]] = {part: {} for part in GROUPS}
    given["capture"]["photos"], given["run"]["out"] = photos, str(out)
    for name, value in options.items():
        given[known[name]][name] = value
    begun = _begun(Path(out)) if options.get("resume") else None
    base = begun or SceneRecipe(CaptureOptions(photos), SceneRunOptions(str(out)), preset=preset)
    recipe = replace(base, **{part: replace(getattr(base, part), **values) for part, values in given.items()})
    return run_recipe(recipe, capture if isinstance(capture, Capture) else None)


def _begun(out: Path) -> SceneRecipe | None:
    """The recipe of a run that is to go on, whose values stand for options that are not given."""
    return SceneRecipe.read(out / RECIPE) if is_scene_run(out) else None
