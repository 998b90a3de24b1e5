"""The photographs of a run: opened, scaled down, and told apart from those of another run."""

from __future__ import annotations

import contextlib
import hashlib
import json

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures import Capture, Photographs
from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.memory import available_memory
from splatlearn.fitting.smoothing import Smoothing
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
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

    def opened(indices: tuple[int, ...], budget: int, depth: bool) -> Photographs:
        views = [capture.views[index] for index in indices]
        made = Photographs(views, recipe.capture.max_size, budget, frame=capture.to_unit, depth=depth)
        return stack.enter_context(made)

    training = opened(capture.training, fitted, recipe.terms.depth_weight > 0)
    return training, opened(capture.held_out, room - fitted, True)


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
    """The 3-D filter of a resolved recipe, from the cameras of the fitted photographs; None for the filter "point"."""
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
