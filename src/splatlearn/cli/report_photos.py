"""The photographs in the report of a run."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from splatlearn.cli.pictures import Pictures
from splatlearn.cli.which_model import described
from splatlearn.core.errors import MissingError
from splatlearn.core.numbers import evenly_spaced
from splatlearn.core.typed import read_as
from splatlearn.data import HELD_OUT_PHOTOS, open_source, resize_center_crop, sample_photos
from splatlearn.images import DataError, UnreadableImage
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.report.parts.page import Section
from splatlearn.report.run_pictures import ShownPhotos, run_picture_sections

SHOWN = 4
"""Photos of the training data that are shown where no others are given."""
DEMO = "the photographs of scikit-image and scikit-learn"
"""What the recipe of the demo calls its data."""
Named = tuple[str, Image.Image]


@dataclass(frozen=True)
class _Data:
    """What a run's recipe, of any version, says of its data."""

    data: str = ""
    split: str = "train"
    image_column: str | None = None
    shuffle_window: int | None = None
    window: int | None = None
    """The older name of `shuffle_window`."""
    lanes: int = 64


@dataclass(frozen=True)
class _Recipe:
    data: _Data = field(default_factory=_Data)


def given_photos(pictures: Pictures) -> list[Named]:
    """The images that can be read. Raises InputError where none can."""
    pictures.say_left_out()
    read = [(file.name, pictures.decoded(file)) for file in pictures.files]
    found = [(name, image) for name, image in read if image is not None]
    if not found:
        pictures.finish()
    return found


def newest(run: str) -> str:
    """Return the name of a run with the step of its newest checkpoint, if it has one."""
    try:
        return described(run)
    except MissingError:
        return f"{run}, which has no checkpoint yet"


def picture_sections(folder: Path, given: list[Named], device: torch.device) -> list[Section]:
    """Sections with pictures, or one that says why there are none: the rest of a report must not fail over them."""
    try:
        model = load_model(folder, device)
        named, origin = (given, "These photos were chosen for this report.") if given else _own_photos(folder)
        return run_picture_sections(folder, model, _shown(model, named, origin), zero_shot=bool(given))
    except (FileNotFoundError, ValueError) as error:
        if given and not isinstance(error, FileNotFoundError):
            raise
        print(f"splatlearn: the report has no pictures: {error}", file=sys.stderr)
        return [Section("Reconstruction", f"No pictures: {error}.")]


def _own_photos(folder: Path) -> tuple[list[Named], str]:
    """Some photos of the data that a run learns from, spread over it."""
    data = read_as(_Recipe, folder / "recipe.json", extra=True, needed=False).data
    name = data.data
    if name == DEMO:
        held_out = [photo for photo in sample_photos() if photo.name in HELD_OUT_PHOTOS]
        return [(photo.name, Image.fromarray(photo.array)) for photo in held_out], "It never saw these."
    if not name or not Path(name).exists():
        raise MissingError(f"the data of the run, {name or 'not recorded'}, is not here; name some images")
    source = open_source(
        name, data.split, data.image_column, shuffle_window=data.shuffle_window or data.window, lanes=data.lanes
    )
    found: list[Named] = []
    # Others stand in for those that cannot be read.
    for index in dict.fromkeys([*evenly_spaced(len(source), SHOWN), *evenly_spaced(len(source), 4 * SHOWN)]):
        try:
            sample = source[index]
        except UnreadableImage:
            continue
        found.append((sample.name, sample.image))
        if len(found) == SHOWN:
            return found, "These are of its training data."
    if not found:
        raise DataError(f"data: expected images in {name} that can be read, found none among {len(source)}")
    return found, "These are of its training data."


def _shown(model: MAE | GMAE, named: list[Named], origin: str) -> ShownPhotos:
    """Photos at the model's size: their largest central boxes of its aspect."""
    pixels = [torch.from_numpy(resize_center_crop(image, *model.image_size)) for _, image in named]
    return ShownPhotos(torch.stack(pixels).float() / 255, [name for name, _ in named], origin)
