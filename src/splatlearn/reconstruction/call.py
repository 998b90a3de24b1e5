"""The reconstruction of a scene as one call."""

from __future__ import annotations

from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from splatlearn.captures import Capture
from splatlearn.core.errors import InputError
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.reconstruction.recipes.recipe import CaptureOptions, SceneOptions, SceneRecipe, SceneRunOptions
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
    - `options`: fields of `SceneOptions`, `SceneRunOptions` and `CaptureOptions` by name, such as `steps=2000`; those
      of the command `splatlearn reconstruct`.

    The result has `gaussians` in the capture's coordinates and the `scores` of held-out photographs. Raises InputError
    for an unknown option, and what `run_recipe` raises.
    """
    kinds = {"capture": CaptureOptions, "run": SceneRunOptions, "scene": SceneOptions}
    known = {field.name: part for part, kind in kinds.items() for field in fields(kind)}
    unknown = [name for name in options if name not in known or name in ("photos", "out")]
    if unknown:
        raise InputError(
            f"options: expected some of {', '.join(sorted(set(known) - {'photos', 'out'}))}, got {unknown[0]}"
        )
    given: dict[str, dict[str, Any]] = {part: {} for part in kinds}
    for name, value in options.items():
        given[known[name]][name] = value
    photos = str(capture.folder) if isinstance(capture, Capture) else str(capture)
    begun = _begun(Path(out)) if options.get("resume") else None
    base = begun or SceneRecipe(CaptureOptions(photos), SceneRunOptions(str(out)), SceneOptions(), preset)
    recipe = replace(
        base,
        capture=replace(base.capture, photos=photos, **given["capture"]),
        run=replace(base.run, out=str(out), **given["run"]),
        scene=replace(base.scene, **given["scene"]),
    )
    return run_recipe(recipe, capture if isinstance(capture, Capture) else None)


def _begun(out: Path) -> SceneRecipe | None:
    """The recipe of a run that is to go on, whose values stand for options that are not given."""
    return SceneRecipe.read(out / RECIPE) if is_scene_run(out) else None
