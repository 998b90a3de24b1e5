"""The first Gaussians of a run, in the frame in which it fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from splatlearn.captures import Capture, Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import CONVEX, GAUSSIAN, SURFEL, Gaussians
from splatlearn.files import read_splat_file
from splatlearn.fitting.initial.cameras import scattered_gaussians, scene_cube
from splatlearn.fitting.initial.convexes import as_convexes
from splatlearn.fitting.initial.discs import random_discs
from splatlearn.fitting.initial.hull import Silhouette, hull_points
from splatlearn.fitting.initial.points import PointOptions, point_gaussians
from splatlearn.fitting.initial.splats import splat_gaussians
from splatlearn.fitting.scene_parameters import scene_gaussians
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.scene_run import is_scene_run, moved, scene_file
from splatlearn.reconstruction.running import messages
from splatlearn.reconstruction.running.photos import reduced
from splatlearn.reconstruction.running.planes import MOST_VIEWS, swept_points
from splatlearn.rendering import as_primitive
from splatlearn.runs.log import note

FEWEST_POINTS = 100
"""Points below which a capture is taken to have none."""
SILHOUETTE = 256
"""Pixels of the longer side of silhouettes."""
EXTENT = 1.0
"""Extent of the scene in the unit frame of a capture."""


def first_gaussians(recipe: SceneRecipe, capture: Capture, photographs: Photographs, cap: int) -> tuple[Gaussians, str]:
    """Return the first Gaussians in the capture's unit frame, and a phrase that says where they came from.

    They are of the recipe's primitive. A start from a file that has another one with further numbers is refused.

    - `photographs`: of the views that are fitted; `cap`: the largest number of Gaussians.

    Raises InputError where there is nothing to start from.
    """
    made, origin = _found_gaussians(recipe, capture, photographs, cap)
    if recipe.scene.primitive == SURFEL and made.primitive != SURFEL:
        made = random_discs(made, recipe.run.seed) if recipe.scene.start_from is None else made
    if recipe.scene.primitive == CONVEX and made.primitive == GAUSSIAN:
        made = as_convexes(made, recipe.scene.convex_points)
    return as_primitive(made, recipe.scene.primitive), origin


def _found_gaussians(
    recipe: SceneRecipe, capture: Capture, photographs: Photographs, cap: int
) -> tuple[Gaussians, str]:
    scene, seed = recipe.scene, recipe.run.seed
    if scene.start_from is not None:
        return _from_splats(scene.start_from, capture, cap, seed, scene.filter)
    centers = torch.from_numpy(capture.to_unit.points(capture.centers))
    if scene.start == "hull":
        return _hull(recipe, photographs, centers, cap)
    if scene.start == "planes":
        assert scene.random_start is not None and scene.start_opacity is not None and scene.start_scale is not None
        note(messages.sweeping(min(MOST_VIEWS, len(photographs)), "find first points (--start planes)"))
        places, colors = swept_points(photographs, cameras_of(photographs))
        count = min(cap, scene.random_start)
        options = PointOptions(cap=count, opacity=scene.start_opacity, scale=scene.start_scale, seed=seed)
        made = point_gaussians(places, colors, centers, EXTENT, options).gaussians
        return made, f"{made.count:,} of {len(places):,} points of a plane sweep"
    wants_points = scene.start == "points" or (scene.start == "auto" and len(capture.points) >= FEWEST_POINTS)
    assert scene.start_opacity is not None and scene.start_scale is not None
    if not wants_points:
        assert scene.random_start is not None
        count = min(scene.random_start, cap)
        made = scattered_gaussians(cameras_of(photographs), count, seed, scene.start_opacity, scene.start_scale)
        return made, f"{count:,} random Gaussians"
    if not len(capture.points):
        raise InputError("start: expected a capture with points, got one without; use --start random")
    places = capture.to_unit.points(capture.points.xyz)
    options = PointOptions(cap=cap, opacity=scene.start_opacity, scale=scene.start_scale, seed=seed)
    found = point_gaussians(places, capture.points.rgb, centers, EXTENT, options)
    left = {
        "at cameras": found.near_cameras, "not finite": found.not_finite, "duplicates": found.duplicates,
        "above the limit": found.over_cap,
    }  # fmt: skip
    said = ", ".join(f"{count:,} {why}" for why, count in left.items() if count)
    return found.gaussians, f"{found.gaussians.count:,} points{f' ({said} left out)' if said else ''}"


def _hull(recipe: SceneRecipe, photographs: Photographs, centers: Tensor, cap: int) -> tuple[Gaussians, str]:
    scene = recipe.scene
    assert scene.start_opacity is not None and scene.start_scale is not None
    hull = hull_points([*silhouettes(photographs)], *scene_cube(cameras_of(photographs)))
    assert scene.random_start is not None
    count = min(cap, scene.random_start)
    options = PointOptions(cap=count, opacity=scene.start_opacity, scale=scene.start_scale, seed=recipe.run.seed)
    found = point_gaussians(hull.places, hull.colors, centers, EXTENT, options).gaussians
    return found, f"{found.count:,} points of the visual hull"


def silhouettes(photographs: Photographs) -> Iterator[Silhouette]:
    """Yield the silhouettes of an object in the readable photographs, scaled down to `SILHOUETTE` pixels.

    Opaque pixels, or those that a mask does not leave out, belong to the silhouette. Raises InputError for a photograph
    that has neither transparency nor a mask.
    """
    photographs.prefetch(range(len(photographs)))
    for index in range(len(photographs)):
        try:
            photo = photographs[index]
        except UnreadableImage:
            # The run itself names it.
            continue
        if photo.pixels.shape[-1] == 3 and photo.mask is None:
            raise InputError(
                f"start: expected photographs with transparency or masks, of which 'hull' takes silhouettes; "
                f"{photo.name} has neither"
            )
        camera, colors, opacity = reduced(photo, SILHOUETTE)
        yield Silhouette(camera, opacity, colors)


def gaussians_of(tensors: Mapping[str, Tensor], primitive: str) -> Gaussians:
    """The Gaussians of a checkpoint of a fit, which draws them as `primitive`."""
    parts = ((*name.partition("."), each) for name, each in tensors.items())
    return scene_gaussians({name: each for part, _, name, each in parts if part == "parameters"}, primitive)


def _from_splats(source: str, capture: Capture, cap: int, seed: int, filter: str) -> tuple[Gaussians, str]:
    path = Path(source)
    if path.is_dir() and is_scene_run(path):
        path = scene_file(path)
    file = read_splat_file(path)
    found = splat_gaussians(moved(file.gaussians, capture.to_unit.around(np.array(file.offset))), cap, seed)
    left = {"not finite": found.not_finite, "above the limit": found.over_cap}
    said = ", ".join(f"{count:,} {why}" for why, count in left.items() if count)
    origin = f"{found.gaussians.count:,} Gaussians of {path}{f' ({said} left out)' if said else ''}"
    other = "" if file.filter == filter else f", which were fitted with the filter {file.filter}, not {filter}"
    return found.gaussians, origin + other


def cameras_of(photographs: Photographs) -> Camera:
    """The cameras of photographs as one batch; they differ in size, which a start does not look at.

    A panorama among them makes panoramas of all, which look at no common point.
    """
    each = [photographs.camera(index) for index in range(len(photographs))]
    viewmats = torch.stack([camera.viewmats for camera in each])
    for camera in each:
        if camera.projection.is_spherical:
            return replace(camera, viewmats=viewmats)
    lens = {name: torch.tensor([float(getattr(camera, name)) for camera in each]) for name in ("fx", "fy", "cx", "cy")}
    return replace(each[0], viewmats=viewmats, **lens)
