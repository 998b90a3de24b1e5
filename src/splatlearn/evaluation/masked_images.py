"""Photographs with masks that say which class each pixel is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splatlearn.data import DataError, KeyedPermutation, UnreadableImage, decode, resize_center_crop
from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.data.labelled import SPLIT_SEED, VAL_SHARE
from splatlearn.data.randomness import Purpose, generator


@dataclass(frozen=True)
class MaskedImages:
    """Photographs with masks of their pixels: paths in pairs, and a phrase on what they are."""

    pairs: tuple[tuple[Path, Path], ...]
    description: str

    def split(self) -> tuple[MaskedImages, MaskedImages]:
        """Four fifths to learn from and a fifth to be judged on, by a keyed order that is always the same."""
        key = int(generator(SPLIT_SEED, 0, 0, Purpose.SPLIT).integers(2**63))
        order = KeyedPermutation(len(self.pairs), key)(np.arange(len(self.pairs)))
        held_out = set(order[: max(1, round(VAL_SHARE * len(order)))].tolist())
        train = tuple(pair for place, pair in enumerate(self.pairs) if place not in held_out)
        val = tuple(pair for place, pair in enumerate(self.pairs) if place in held_out)
        return MaskedImages(train, self.description), MaskedImages(val, self.description)


def open_masked_images(folder: str | Path) -> MaskedImages:
    """The pairs `images/NAME.*` and `masks/NAME.png` of a folder, in order of their names.

    Raises DataError when a folder or a mask is missing, and for fewer than two pairs.
    """
    root = Path(folder).expanduser()
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise DataError(f"segmentation: expected a folder with sub-folders images and masks, got {root}")
    images = sorted(path for path in (root / "images").iterdir() if path.suffix.lower() in IMAGE_EXTENSIONS)
    pairs = tuple((path, root / "masks" / f"{path.stem}.png") for path in images)
    missing = [mask.name for _, mask in pairs if not mask.is_file()]
    if missing:
        raise DataError(
            f"segmentation: expected a PNG in {root / 'masks'} for each image, got none for {len(missing)} of them, "
            f"{missing[0]} for one"
        )
    if len(pairs) < 2:
        raise DataError(f"segmentation: expected at least two images in {root / 'images'}, got {len(pairs)}")
    return MaskedImages(pairs, f"{len(pairs)} images with masks in {root}")


def read_pair(
    pair: tuple[Path, Path], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "3 H W"], UInt8[np.ndarray, "H W"]]:
    """The pixels of a photograph and its mask's class numbers: the largest central box, resized to height and width.

    Grey masks above half are class 1; palette masks keep their class numbers. Raises DataError for unreadable files
    and a mask of another size than its image.
    """
    try:
        photo = decode(pair[0], pair[0].name)
        with Image.open(pair[1]) as mask:
            classes = np.asarray(mask if mask.mode == "P" else mask.convert("L"))
            is_palette = mask.mode == "P"
    except (UnreadableImage, OSError) as error:
        raise DataError(f"segmentation: expected readable images and masks, got {error}") from error
    if classes.shape != (photo.height, photo.width):
        raise DataError(
            f"segmentation: expected a mask of {photo.width}x{photo.height} pixels like {pair[0].name}, got "
            f"{classes.shape[1]}x{classes.shape[0]} in {pair[1].name}"
        )
    numbers = classes if is_palette else (classes > 127).astype(np.uint8)
    return resize_center_crop(photo, *size), _resized_mask(numbers, *size)


def _resized_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixel of the box that `resize_center_crop` takes."""
    factor = min(mask.shape[1] / width, mask.shape[0] / height)
    rows = (mask.shape[0] - height * factor) / 2 + (np.arange(height) + 0.5) * factor
    columns = (mask.shape[1] - width * factor) / 2 + (np.arange(width) + 0.5) * factor
    return mask[np.ix_(rows.astype(int), columns.astype(int))]
