"""Colour photographs that scikit-image and scikit-learn carry, for demonstrations without a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.core.errors import InputError
from splatlearn.data.image_sets.samples import ImageList
from splatlearn.images.decoding import decode
from splatlearn.images.installed import installed_file
from splatlearn.images.tiles import tile_starts

PHOTOS = (
    ("astronaut", "skimage/data/astronaut.png", "NASA, public domain"),
    ("chelsea", "skimage/data/chelsea.png", "Stefan van der Walt, CC0"),
    ("china", "sklearn/datasets/images/china.jpg", "danielbuechele on Flickr, CC BY 2.0"),
    ("coffee", "skimage/data/coffee.png", "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0"),
    ("flower", "sklearn/datasets/images/flower.jpg", "vultilion on Flickr, CC BY 2.0"),
    ("hubble", "skimage/data/hubble_deep_field.jpg", "NASA, public domain"),
    ("retina", "skimage/data/retina.jpg", "Mikael Häggström, CC0"),
    ("rocket", "skimage/data/rocket.jpg", "SpaceX, public domain"),
)
HELD_OUT_PHOTOS = ("chelsea", "coffee")


@dataclass(frozen=True)
class Photo:
    """A photograph: its name, its pixels uint8 [H, W, 3], and whom to credit under which licence."""

    name: str
    array: UInt8[np.ndarray, "H W 3"]
    credit: str


def sample_photos() -> list[Photo]:
    """Read the colour photographs in the installed scikit-image and scikit-learn, without any network.

    Raises DataError when the packages do not carry one of them.
    """
    return [Photo(name, np.asarray(decode(installed_file(file), name)), credit) for name, file, credit in PHOTOS]


def split_photos(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Divide photographs into those for training and those in HELD_OUT_PHOTOS, of which no pixel is for training."""
    training = [photo for photo in photos if photo.name not in HELD_OUT_PHOTOS]
    return training, [photo for photo in photos if photo.name in HELD_OUT_PHOTOS]


def photo_crops(
    photos: Sequence[Photo], size: int, scales: Sequence[float] = (1.0, 0.5, 0.25), overlap: float = 0.5
) -> ImageList:
    """Cut photographs into overlapping squares of several scales, each resized to `size` pixels a side.

    - `scales`: sides of the squares as shares of the photograph's shorter side, in (0, 1].
    - `overlap`: smallest share of a square that its neighbour covers too, in [0, 1).

    The squares are spread evenly from edge to edge; their names are photograph/scale/row-column.
    Raises InputError for numbers out of range and DataError for no photographs.
    """
    if size < 1:
        raise InputError(f"size: expected a positive number of pixels, got {size}")
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise InputError(f"scales: expected shares of the shorter side in (0, 1], got {tuple(scales)}")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap: expected a share in [0, 1), got {overlap}")
    images: list[np.ndarray] = []
    names: list[str] = []
    for photo in photos:
        image = Image.fromarray(photo.array)
        for scale in scales:
            side = max(1, round(scale * min(image.size)))
            for row, top in enumerate(tile_starts(image.height, side, overlap)):
                for column, left in enumerate(tile_starts(image.width, side, overlap)):
                    box = (left, top, left + side, top + side)
                    images.append(np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)))
                    names.append(f"{photo.name}/{scale:g}/{row}-{column}")
    return ImageList(images, names)
