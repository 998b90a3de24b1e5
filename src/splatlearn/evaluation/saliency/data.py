"""Photographs with the masks of their figures, read at their own size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from splatlearn.evaluation.segmentation_data import WHITE, open_segmented_images, read_mask
from splatlearn.images import DataError, decode
from splatlearn.images.left_out import LeftOut, left_out_of

Pair = tuple[Path, Path]


def open_figure_ground(
    folder: str | Path, limit: int | None = None, left_out: LeftOut | None = None
) -> dict[str, list[Pair]]:
    """Groups of photographs and masks: a folder with `images` and `masks`, or one with several such folders in it.

    Groups and pairs are in the order of their names; `limit` keeps the first pairs of each group, and `left_out` counts
    what lies beside them. Raises DataError for a folder of neither kind, missing masks, and a limit below 1.
    """
    root = Path(folder).expanduser()
    if limit is not None and limit < 1:
        raise DataError(f"limit: expected at least 1 image, got {limit}")
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data: expected a folder of images and masks, got {root}, which {what}")
    inside = sorted(each for each in root.iterdir() if (each / "images").is_dir() and (each / "masks").is_dir())
    groups = [root] if (root / "images").is_dir() else inside
    if not groups:
        raise DataError(f"data: expected sub-folders images and masks in {root}, or in folders of it, found neither")
    found: dict[str, list[Pair]] = {}
    for group in groups:
        images = open_segmented_images(group)
        found[group.name] = list(images.pairs[:limit])
        if left_out is not None:
            left_out.update(left_out_of(images))
    return found


def read_figure(pair: Pair) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """A photograph and where its figure is.

    In a mask with shades above half that is what is above half; in one of class numbers, grey or in a palette, every
    class but 0, and 255 only where no other class is there (see `segment_classes`).

    Raises UnreadableImage for photographs that cannot be decoded, and DataError as `read_mask` does and for a mask of
    another size.
    """
    photo = np.asarray(decode(pair[0], pair[0].name))
    values = read_mask(pair[1])
    present = set(np.unique(values).tolist())
    if any(WHITE // 2 < value < WHITE for value in present):
        mask = values > WHITE // 2
    else:
        mask = (values != 0) & ((values != WHITE) | (present <= {0, WHITE}))
    if mask.shape != photo.shape[:2]:
        raise DataError(
            f"data: expected a mask of {photo.shape[1]}×{photo.shape[0]} pixels like {pair[0].name}, got "
            f"{mask.shape[1]}×{mask.shape[0]} in {pair[1].name}"
        )
    return photo, mask
