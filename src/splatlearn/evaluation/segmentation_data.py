"""Photographs with masks that say which class each pixel is of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import KeyedPermutation, resize_center_crop
from splatlearn.data.labelled import SPLIT_SEED, VAL_SHARE
from splatlearn.evaluation.features.extraction import Progress
from splatlearn.images import DataError, UnreadableImage, decode
from splatlearn.images.decoding import decode_stored
from splatlearn.images.left_out import LeftOut
from splatlearn.images.listing import files_below, images_in

WHITE = 255
"""Value of the figure in masks that hold 0 and 255 alone."""
VOID = (255, 65535)
"""Values of pixels that are of no class in all other masks, of 8 and of 16 bits."""
IGNORED = -1
"""Class number that `SegmentClasses` gives such pixels."""


@dataclass(frozen=True)
class SegmentedImages:
    """Photographs with segmentation masks, a class for each pixel: paths in pairs, and a phrase on what they are.

    `left_out`: what lies beside them.
    """

    pairs: tuple[tuple[Path, Path], ...]
    description: str
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)

    def split(self) -> tuple[SegmentedImages, SegmentedImages]:
        """Four fifths to learn from and a fifth to be judged on, by a keyed order that is always the same."""
        key = int(generator(SPLIT_SEED, 0, 0, Purpose.SPLIT).integers(2**63))
        order = KeyedPermutation(len(self.pairs), key)(np.arange(len(self.pairs)))
        held_out = set(order[: max(1, round(VAL_SHARE * len(order)))].tolist())
        train = tuple(pair for place, pair in enumerate(self.pairs) if place not in held_out)
        val = tuple(pair for place, pair in enumerate(self.pairs) if place in held_out)
        return replace(self, pairs=train), replace(self, pairs=val)


def open_segmented_images(folder: str | Path) -> SegmentedImages:
    """The pairs `images/NAME.*` and `masks/NAME.png` of a folder, in order of their names.

    Raises DataError when a folder or a mask is missing, and for fewer than two pairs.
    """
    root = Path(folder).expanduser()
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise DataError(f"segmentation: expected a folder with sub-folders images and masks, got {root}")
    images, left_out = images_in(root / "images")
    pairs = tuple((path, root / "masks" / f"{path.stem}.png") for path in images)
    missing = [mask.name for _, mask in pairs if not mask.is_file()]
    if missing:
        raise DataError(
            f"segmentation: expected a PNG in {root / 'masks'} for each image, got none for {len(missing)} of them, "
            f"{missing[0]} for one"
        )
    if len(pairs) < 2:
        raise DataError(f"segmentation: expected at least two images in {root / 'images'}, got {len(pairs)}")
    masks, others = files_below(root / "masks", (".png",), deep=False)
    used = {mask.name for _, mask in pairs}
    for name in masks:
        if name not in used:
            others.add("masks without an image", name)
    return SegmentedImages(pairs, f"{len(pairs)} images with masks in {root}", (left_out, others))


@dataclass(frozen=True)
class SegmentClasses:
    """The classes of a set of masks: `values[c]` is the value of class c in the files, `names[c]` what reports call it.

    Raises InputError for values that do not rise.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values) or list(self.values) != sorted(set(self.values)):
            raise InputError(
                f"values: expected increasing numbers, one for each of {len(self.names)}, got {self.values}"
            )

    def __len__(self) -> int:
        return len(self.values)

    def numbered(self, mask: Integer[np.ndarray, "H W"]) -> Int64[np.ndarray, "H W"]:
        """The class number of each value of a mask; IGNORED for values of no class."""
        known = np.array(self.values)
        places = np.searchsorted(known, mask).clip(max=len(known) - 1)
        return np.where(known[places] == mask, places, IGNORED)


def segment_classes(images: SegmentedImages, progress: Progress | None = None) -> SegmentClasses:
    """The classes that the masks of a set hold, by one rule for grey masks and palettes.

    Values are class numbers and 255 is void, unless all masks together hold 0 and 255 alone: then 255 is class 1. In
    masks of 16 bits 65535 is void too. Reads every mask. Raises DataError for fewer than two classes and as `read_mask`
    does.
    """
    found: set[int] = set()
    for done, (_, mask) in enumerate(images.pairs):
        if progress is not None:
            progress("masks", done, len(images.pairs))
        found.update(np.unique(read_mask(mask)).tolist())
    is_binary = found <= {0, WHITE}
    values = tuple(sorted(found if is_binary else found.difference(VOID)))
    if len(values) < 2:
        only = f"{values[0]} alone" if values else "nothing"
        void = " beside void pixels" if found.difference(values) else ""
        raise DataError(
            f"segmentation: expected masks of at least two classes, got {only}{void} in the {len(images.pairs)} masks "
            f"of {images.pairs[0][1].parent}; pixels hold class numbers, 255 for void, or 0 and 255 for two classes"
        )
    return SegmentClasses(values, tuple(f"class {number}" for number in ((0, 1) if is_binary else values)))


def read_mask(path: Path) -> Integer[np.ndarray, "H W"]:
    """The values of a mask as the file stores them, upright: of grey of any depth, or the numbers of a palette.

    Black and white files of one bit give 0 and 255; colours are taken where they are all grey. Raises DataError for a
    file that cannot be read and for colours.
    """
    try:
        mask = decode_stored(path, path.name)
    except UnreadableImage as error:
        raise DataError(f"segmentation: expected readable images and masks, got {error}") from error
    values = np.asarray(mask.convert("L") if mask.mode == "1" else mask)
    plain = np.issubdtype(values.dtype, np.integer)
    if mask.mode in ("LA", "RGBA"):
        plain, values = bool((values[..., -1] == WHITE).all()), values[..., :-1]
    grey = values if values.ndim == 2 else values[..., 0]
    if not plain or (values.ndim == 3 and bool((values != grey[..., None]).any())):
        raise DataError(
            f"segmentation: expected class numbers in grey or a palette, got pixels of mode {mask.mode} in "
            f"{path.name}; convert the mask"
        )
    return grey


def read_pair(
    pair: tuple[Path, Path], size: tuple[int, int], classes: SegmentClasses
) -> tuple[UInt8[np.ndarray, "3 H W"], Int64[np.ndarray, "H W"]]:
    """The pixels of a photograph and its mask's class numbers: the largest central box, resized to height and width.

    `classes`: of the set, as `segment_classes` finds them; void is IGNORED. Raises DataError for unreadable files and a
    mask of another size than its image.
    """
    try:
        photo = decode(pair[0], pair[0].name)
    except UnreadableImage as error:
        raise DataError(f"segmentation: expected readable images and masks, got {error}") from error
    mask = read_mask(pair[1])
    if mask.shape != (photo.height, photo.width):
        raise DataError(
            f"segmentation: expected a mask of {photo.width}x{photo.height} pixels like {pair[0].name}, got "
            f"{mask.shape[1]}x{mask.shape[0]} in {pair[1].name}"
        )
    return resize_center_crop(photo, *size), _resized_mask(classes.numbered(mask), *size)


def _resized_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixel of the box that `resize_center_crop` takes."""
    factor = min(mask.shape[1] / width, mask.shape[0] / height)
    rows = (mask.shape[0] - height * factor) / 2 + (np.arange(height) + 0.5) * factor
    columns = (mask.shape[1] - width * factor) / 2 + (np.arange(width) + 0.5) * factor
    return mask[np.ix_(rows.astype(int), columns.astype(int))]
