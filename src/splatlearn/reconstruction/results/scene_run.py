"""Results of a reconstruction in its folder, beside checkpoints: the scene, its scores, and snapshots."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from splatlearn.captures import Capture, Photographs, load_capture
from splatlearn.captures.poses import rigid
from splatlearn.captures.transforms.writer import Poses, read_poses, write_transforms
from splatlearn.core.disk.atomic import read_object, replacing, write_whole
from splatlearn.core.errors import InputError, MissingError
from splatlearn.core.gaussians import CONVEX, Gaussians
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.evaluation.views.perceptual import Lpips
from splatlearn.evaluation.views.scores import SceneScores
from splatlearn.files import read_splat_file, write_splats
from splatlearn.files.formats import files_beside
from splatlearn.files.offset import NO_OFFSET, Offset
from splatlearn.files.splat_file import SplatFile
from splatlearn.fitting.skies.sky import Sky
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.evaluator import Evaluator
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.reconstruction.results.sky_file import read_sky, sky_gaussians
from splatlearn.runs.folder import RECIPE

SCENE, SCENE_FOLDER = "scene.ply", "scene/splats.json"
"""The Gaussians in the capture's own coordinates, relative to an offset that the file says if these are large; the
second of convexes, which PLY does not hold."""
COARSE = 1e-5
"""Rounding of positions, in extents of the cameras, from which on they are relative to an offset."""
SCORES = "scores.json"
CAMERAS = "transforms.json"
"""The cameras of a run that refined their poses, in the capture's own coordinates."""
SNAPSHOTS = "snapshots"
"""Folder of renderings of one held-out view, one for each evaluation."""


def moved(gaussians: Gaussians, similarity: Similarity) -> Gaussians:
    """Gaussians after a similarity of the world."""
    turn, shift = torch.from_numpy(similarity.rotation), torch.from_numpy(similarity.translation)
    is_turned = not np.array_equal(similarity.rotation, np.eye(3))
    double = gaussians.to(torch.float64)
    return double.transformed(turn if is_turned else None, shift, similarity.scale).to(gaussians.means.dtype)


def rounding_of(to_unit: Similarity) -> float:
    """How coarse float32 is at a capture's place in its world, in extents of its cameras."""
    middle = float(np.abs(to_unit.inverse.translation).max())
    return float(np.spacing(np.float32(middle))) * to_unit.scale


def offset_of(to_unit: Similarity) -> Offset:
    """Return what positions of a scene's file are relative to, in the capture's coordinates.

    Zeros unless float32 is too coarse there; else the middle of the cameras, rounded to a power of ten that is no less
    than their extent, so that people can read it.
    """
    if rounding_of(to_unit) <= COARSE:
        return NO_OFFSET
    decimals = math.floor(math.log10(to_unit.scale))
    x, y, z = (float(each) for each in np.round(to_unit.inverse.translation, decimals))
    return x, y, z


def write_scene(run: Path, gaussians: Gaussians, to_unit: Similarity, filter: str = "point") -> Path:
    """Write the Gaussians of a fit into its folder, marked with their offset (see `offset_of`) and as antialiased.

    Files know no third filter: those of the filter "analytic" are marked too, since "mip" comes nearest to it.
    """
    path, offset = run / scene_name(gaussians.primitive), offset_of(to_unit)
    path.parent.mkdir(exist_ok=True)
    placed = moved(gaussians.detach().to("cpu"), to_unit.around(np.array(offset)).inverse)
    write_splats(path, placed, antialiased=filter != "point", offset=offset)
    return path


def scene_name(primitive: str) -> str:
    """The name of the file with the Gaussians of a run, which are drawn as `primitive`."""
    return SCENE_FOLDER if primitive == CONVEX else SCENE


def scene_file(run: Path) -> Path:
    """The file with the Gaussians of a run, there or not."""
    return run / SCENE_FOLDER if (run / SCENE_FOLDER).is_file() else run / SCENE


def scene_bytes(run: Path) -> int:
    """The size of the file with the Gaussians of a run, and of what belongs to it."""
    file = scene_file(run)
    return sum(each.stat().st_size for each in (file, *files_beside(file)))


def write_cameras(run: Path, capture: Capture, poses: Poses) -> Path:
    """Write the cameras of a run into its folder.

    `poses`: world-to-camera transforms in the frame of the fit, by names of photographs.
    """
    back = capture.to_unit.inverse
    # Rotations that are fitted in float32 are orthogonal to that alone; far from the origin, centres would be off.
    found = {name: back.cameras(rigid(each)) for name, each in poses.items()}
    return write_transforms(run / CAMERAS, capture, found)


def write_scores(run: Path, scores: dict[str, Any]) -> Path:
    """Write the scores of held-out views."""
    path = run / SCORES
    write_whole(path, json.dumps(scores, indent=2) + "\n")
    return path


def write_snapshot(run: Path, step: int, color: Float[Tensor, "3 H W"]) -> Path:
    """Write a snapshot: a rendering of the first view after a step."""
    folder = run / SNAPSHOTS
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}.jpg"
    pixels = (color.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with replacing(path) as beside:
        Image.fromarray(pixels).save(beside, "JPEG", quality=92)
    return path


def snapshots(run: Path) -> list[tuple[int, Path]]:
    """Return the steps and files of the snapshots, in order."""
    found = sorted((run / SNAPSHOTS).glob("step-*.jpg"))
    return [(int(path.stem.removeprefix("step-")), path) for path in found]


@dataclass(frozen=True)
class SceneRun:
    """A reconstruction on disk, finished or not.

    Its Gaussians and its capture are in the world of the photographs, relative to `offset`.

    Raises MissingError where the folder holds none, or no scene yet.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not is_scene_run(self.folder):
            raise MissingError(f"{self.folder}: expected a run of splatlearn reconstruct, found none")

    @cached_property
    def recipe(self) -> SceneRecipe:
        """The recipe of the run."""
        return SceneRecipe.read(self.folder / RECIPE)

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians relative to `offset`, as the run left them last."""
        return self._scene.gaussians

    @property
    def offset(self) -> Offset:
        """The point of the photographs' world that positions are relative to.

        Zeros, except for captures so far from their origin that float32 is coarse there.
        """
        return self._scene.offset if scene_file(self.folder).is_file() else NO_OFFSET

    @cached_property
    def _scene(self) -> SplatFile:
        path = scene_file(self.folder)
        if not path.is_file():
            raise MissingError(
                f"{path}: expected the scene of the run, found none; --resume the run until a checkpoint"
            )
        return read_splat_file(path)

    @cached_property
    def sky(self) -> Sky | None:
        """The sky of the run, None for a run without one."""
        return read_sky(self.folder)

    @cached_property
    def gaussians_with_sky(self) -> Gaussians:
        """The Gaussians, and far ones in place of the sky if there is one: for pages and files, which have none."""
        if self.sky is None:
            return self.gaussians
        return Gaussians.cat([self.gaussians, sky_gaussians(self.sky, self.gaussians, self.capture.to_unit)])

    @cached_property
    def capture(self) -> Capture:
        """The capture, read anew from where the run found it, with the poses that the run refined."""
        capture, path = open_capture(self.recipe), self.folder / CAMERAS
        if self.recipe.views.poses != "given" and path.is_file():
            poses = read_poses(path)
            views = (
                replace(view, world_to_camera=poses.get(view.name, view.world_to_camera)) for view in capture.views
            )
            capture = replace(capture, views=tuple(views))
        return capture if self.offset == NO_OFFSET else capture.around(np.array(self.offset))

    @cached_property
    def known_depths(self) -> KnownDepths:
        """Known depths of the capture's photographs."""
        return KnownDepths(self.capture)

    @property
    def filter(self) -> str:
        """The filter that the Gaussians are fitted with, for `render`."""
        return self.recipe.scene.filter

    @property
    def scores(self) -> dict[str, Any] | None:
        """The scores of held-out views, None before the end of the run."""
        path = self.folder / SCORES
        return read_object(path) if path.is_file() else None

    def evaluate(self, lpips: Lpips | None = None) -> SceneScores:
        """Render the held-out photographs' views anew and compare them; see `score_views`.

        `lpips`: the perceptual distance (`splatlearn.evaluation.views.perceptual.read_lpips`), by default not computed.

        Photographs that cannot be read any more are left out. Raises InputError for a capture that holds none out, and
        where none of them can be read.
        """
        capture = self.capture
        if not capture.held_out:
            raise InputError(f"{self.folder}: expected photographs that were held out, got a run without any")
        views = [capture.views[index] for index in capture.held_out]
        gaussians = moved(self.gaussians, capture.to_unit)
        size = self.recipe.capture.max_size
        with Photographs(views, size, frame=capture.to_unit, depth=True) as photographs:
            evaluator = Evaluator(photographs, shown_background(self.recipe, capture), self.known_depths)
            evaluator.sky, evaluator.filter, evaluator.lpips = self.sky, self.filter, lpips
            scores = evaluator.all(gaussians)
        if not scores.views:
            name, reason = next(iter(evaluator.unreadable.items()), ("", "masks leave out all pixels"))
            raise InputError(
                f"{capture.folder}: expected held-out photographs to score, got {len(views)} that cannot be: "
                f"{name or views[0].name}: {reason}"
            )
        return scores


@dataclass(frozen=True)
class SceneResult:
    """How a reconstruction ended.

    - `folder`: of the run; `steps`, `total`: steps done in all, and those of the recipe; `done`: of this call.
    - `scores`: of held-out views at the end, None for an interrupted run or a capture that holds none out; of their
      localised poses if the run refined poses, and `given_scores` are then those of the given poses.
    - `neighbours`: in the light of the fitted photographs before and after each held-out one, if photographs have
      colours of their own.
    - `count`: the number of Gaussians; `seconds`: spent in all steps of the run;
      `waited`: those of them in which this call waited for photographs to be decoded and scaled.
    - `requeue`: whether it stopped because SIGTERM or SIGUSR1 asked it to.
    """

    folder: Path
    steps: int
    total: int
    done: int
    count: int
    seconds: float
    waited: float = 0.0
    scores: SceneScores | None = None
    given_scores: SceneScores | None = None
    neighbours: SceneScores | None = None
    requeue: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether it stopped before the end."""
        return self.steps < self.total

    @property
    def run(self) -> SceneRun:
        """The results in the run's folder."""
        return SceneRun(self.folder)

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians in the capture's coordinates, relative to the `offset` of the run."""
        return self.run.gaussians


def is_random_background(recipe: SceneRecipe, capture: Capture) -> bool:
    """Whether each step has a random background."""
    chosen = recipe.scene.background
    return chosen == "random" or (chosen == "auto" and any(view.has_alpha for view in capture.views))


def shown_background(recipe: SceneRecipe, capture: Capture) -> Literal["black", "white"]:
    """Return the background of scores and pictures: white for transparent photographs, as is usual."""
    is_white = is_random_background(recipe, capture) or recipe.scene.background == "white"
    return "white" if is_white else "black"


def is_scene_run(folder: Path) -> bool:
    """Whether a folder holds a run of reconstruct."""
    path = folder / RECIPE
    return path.is_file() and "capture" in read_object(path)


def open_capture(recipe: SceneRecipe) -> Capture:
    """Load the capture of a recipe."""
    options = recipe.capture
    return load_capture(options.photos, images=options.images, hold_out=options.hold_out)
