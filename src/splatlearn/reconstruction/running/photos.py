"""The photographs of a run: opened, scaled down, and told apart from those of another run."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures import Capture, Photographs, View
from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.memory import available_memory
from splatlearn.fitting.priors.prior import FolderPrior
from splatlearn.fitting.smoothing import Smoothing
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.recipes.term_options import SWEEP
from splatlearn.runs.data_identity import DataIdentity

GIGABYTE = 1_000_000_000
PHOTO_SHARE = 3
"""The default memory for photographs is the free memory divided by this."""


def open_photographs(
    recipe: SceneRecipe, capture: Capture, stack: contextlib.ExitStack
) -> tuple[Photographs, Photographs]:
    """Open the photographs that are fitted and those that are held out; they share the memory by their numbers.

    - `recipe`: resolved; `stack`: closes them.
    """
    given = recipe.capture.photo_memory
    room = available_memory() // PHOTO_SHARE if given is None else round(given * GIGABYTE)
    fitted = round(room * len(capture.training) / (len(capture.training) + len(capture.held_out)))

    def opened(views: list[View], budget: int, depth: bool) -> Photographs:
        made = Photographs(views, recipe.capture.max_size, budget, frame=capture.to_unit, depth=depth)
        return stack.enter_context(made)

    fitted_views, scored_views = (
        [capture.views[index] for index in indices] for indices in (capture.training, capture.held_out)
    )
    training = opened(with_prior_maps(recipe, fitted_views), fitted, recipe.terms.depth_weight > 0)
    return training, opened(scored_views, room - fitted, True)


def with_prior_maps(recipe: SceneRecipe, views: Sequence[View]) -> list[View]:
    """Return views that are read with the depth maps of the recipe's folder in place of their own.

    Raises MissingError for a folder that is not there, and InputError for one with a map of no view.
    """
    folder = recipe.terms.depth_prior
    if folder is None or folder == SWEEP:
        return [*views]
    prior = FolderPrior(Path(folder))
    found = [replace(view, depth_path=prior.path_of(view.name), depth_unit=1.0) for view in views]
    if all(view.depth_path is None for view in found):
        wanted = f"{Path(views[0].name).stem}.npy or .png" if views else "x.npy"
        raise InputError(
            f"depth_prior: expected depth maps that are called as photographs are, such as {wanted}, got none of "
            f"{len(views)} in {folder}"
        )
    return found


def reduced(photo: Photo, most: int) -> tuple[Camera, Float[Tensor, "h w 3"], Float[Tensor, "h w"]]:
    """Return the camera, the colours in [0, 1] and the opacities of a photograph, scaled down by means over areas.

    - `most`: pixels of the longer side; smaller photographs keep their size.

    Opacities are multiplied by the mask; they are 1 in photographs with neither transparency nor a mask.
    """
    pixels = photo.pixels.permute(2, 0, 1).float() / 255
    opacity = pixels[3] if len(pixels) == 4 else torch.ones_like(pixels[0])
    opacity = opacity if photo.mask is None else opacity * (photo.mask.float() / 255)
    ratio = min(1.0, most / max(opacity.shape))
    height, width = (max(1, round(ratio * side)) for side in opacity.shape)
    shown = torch.cat([pixels[:3], opacity[None]])[None]
    if ratio < 1:
        shown = torch.nn.functional.interpolate(shown, (height, width), mode="area")
    return photo.camera.resized(height, width), shown[0, :3].permute(1, 2, 0), shown[0, 3]


def smoothing_of(recipe: SceneRecipe, photographs: Photographs) -> Smoothing | None:
    """The 3-D filter of a recipe with the filter "mip", of the fitted cameras; None with others."""
    if recipe.scene.filter != "mip":
        return None
    return Smoothing([photographs.camera(index) for index in range(len(photographs))])


def identity_of(capture: Capture) -> DataIdentity:
    """The number of photographs, and a fingerprint of their names, lenses and cameras."""
    digest = hashlib.sha256()
    for view in capture.views:
        said = [view.name, view.split, view.lens.model, view.lens.width, view.lens.height, *view.lens.params]
        digest.update(json.dumps(said).encode())
        digest.update(view.world_to_camera.round(9).tobytes())
    return DataIdentity(len(capture.views), digest.hexdigest()[:16])
