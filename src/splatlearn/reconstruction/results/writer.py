"""The files of a reconstruction: its scene, sky, refined cameras, scores and compressed copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from splatlearn.captures import Capture
from splatlearn.core.gaussians import Gaussians
from splatlearn.files.offset import NO_OFFSET
from splatlearn.fitting.skies.sky import Sky
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.scene_run import (
    CAMERAS,
    SCORES,
    moved,
    offset_of,
    scene_file,
    scene_name,
    shown_background,
    write_cameras,
    write_scene,
    write_scores,
)
from splatlearn.reconstruction.results.sky_file import sky_gaussians, write_sky
from splatlearn.reconstruction.results.small_file import SMALL, write_small
from splatlearn.runs.checkpoint_store import CheckpointError

if TYPE_CHECKING:
    from splatlearn.compression import Compressed


class SceneWriter:
    """Writes what a run has found into its folder.

    - `folder`: of the run; `recipe`: a resolved one; `capture`: in the frame of the run.
    - `step`: of each file, the step of the newest checkpoint, which an error names.

    Gaussians are those of the run, in the unit frame of the capture. Each method raises CheckpointError for a file that
    cannot be written; the checkpoint is whole then.
    """

    def __init__(self, folder: Path, recipe: SceneRecipe, capture: Capture) -> None:
        self.folder, self.recipe, self.capture = folder, recipe, capture

    def has_scene(self) -> bool:
        """Whether there is a scene."""
        return scene_file(self.folder).is_file()

    def scene(self, gaussians: Gaussians, sky: Sky | None, step: int) -> None:
        """Write the scene, and its sky if it has one."""
        with self._told(scene_name(gaussians.primitive), step):
            write_scene(self.folder, gaussians, self.capture.to_unit, self.recipe.scene.filter)
            if sky is not None:
                write_sky(self.folder, sky)

    def cameras(self, poses: Mapping[str, np.ndarray], step: int) -> None:
        """Write the poses of cameras by the names of their photographs."""
        with self._told(CAMERAS, step):
            write_cameras(self.folder, self.capture, dict(poses))

    def scores(self, content: dict[str, Any], step: int) -> None:
        """Write the scores of held-out photographs."""
        with self._told(SCORES, step):
            write_scores(self.folder, content)

    def has_small(self, size: int) -> bool:
        """Whether there is a compressed copy of at most `size` bytes."""
        path = self.folder / SMALL
        return path.is_file() and path.stat().st_size <= size

    def whole(self, gaussians: Gaussians, sky: Sky | None) -> Gaussians:
        """Return the scene in the coordinates of its file, with far Gaussians in place of a sky."""
        scene = moved(gaussians.to("cpu"), self.capture.to_unit.inverse)
        return scene if sky is None else Gaussians.cat([scene, sky_gaussians(sky, scene, self.capture.to_unit)])

    def small(self, whole: Gaussians, size: int, step: int) -> Compressed:
        """Write a compressed copy of the whole scene. Raises InputError where none has at most `size` bytes."""
        offset = offset_of(self.capture.to_unit)
        capture = self.capture if offset == NO_OFFSET else self.capture.around(np.array(offset))
        views = [capture.views[index] for index in capture.training]
        background = shown_background(self.recipe, self.capture)
        with self._told(SMALL, step):
            return write_small(self.folder, whole, views, size, background, self.recipe.scene.filter)

    @contextlib.contextmanager
    def _told(self, name: str, step: int) -> Iterator[None]:
        """Inside, a file that cannot be written is a sentence about what to do."""
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"out: cannot write {self.folder / name}: {error.strerror or error}; the checkpoint of step {step} is "
                "whole. Make room, or let the folder be written, and --resume"
            ) from error
