"""The photographs and annotations of BSDS500 on disk, and their scores in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Bool, Float

from splatlearn.core.errors import InputError
from splatlearn.evaluation.boundaries.scores import (
    THRESHOLDS,
    BoundaryCounts,
    BoundaryScores,
    boundary_counts,
    boundary_scores,
    thresholds,
)
from splatlearn.images import DataError
from splatlearn.images.left_out import LeftOut
from splatlearn.images.listing import images_in
from splatlearn.runs.processes import bounded_map

PUBLISHED = {
    "gPb-owt-ucm": {"ods": 0.726, "ois": 0.760, "ap": 0.727},
    "Canny": {"ods": 0.60, "ois": 0.63, "ap": 0.58},
    "human": {"ods": 0.80},
}
"""Figures on the 200 test images from Arbelaez et al. 2011, table 1; those of gPb-owt-ucm as they distribute them."""


@dataclass(frozen=True)
class AnnotatedImage:
    """A photograph and the file of its annotations."""

    image: Path
    annotations: Path

    @property
    def name(self) -> str:
        """The number that BSDS gives it."""
        return self.image.stem


def open_bsds(
    folder: str | Path, split: str = "test", limit: int | None = None, left_out: LeftOut | None = None
) -> list[AnnotatedImage]:
    """The photographs of a split, `images/SPLIT/ID.jpg` with `groundTruth/SPLIT/ID.mat`, in the order of their names.

    `limit` keeps the first photographs, and `left_out` counts what lies beside them. Raises DataError when a folder or
    an annotation is missing, and for a limit below 1.
    """
    root = Path(folder).expanduser()
    images, truths = root / "images" / split, root / "groundTruth" / split
    if not images.is_dir() or not truths.is_dir():
        raise DataError(f"data: expected BSDS500 with images/{split} and groundTruth/{split}, got {root}")
    if limit is not None and limit < 1:
        raise DataError(f"limit: expected at least 1 image, got {limit}")
    files, others = images_in(images)
    if left_out is not None:
        left_out.update(others)
    found = [AnnotatedImage(path, truths / f"{path.stem}.mat") for path in files]
    missing = [each.name for each in found if not each.annotations.is_file()]
    if missing:
        raise DataError(f"data: expected annotations in {truths} for each image, got none for {', '.join(missing[:4])}")
    if not found:
        raise DataError(f"data: expected photographs in {images}, found none")
    return found[:limit]


def read_boundaries(path: Path) -> list[Bool[np.ndarray, "H W"]]:
    """Each annotator's boundaries in a file of BSDS500. Raises DataError for a file that holds none."""
    try:
        cells = scipy.io.loadmat(path)["groundTruth"]
        return [cells[0, number]["Boundaries"][0, 0] > 0 for number in range(cells.shape[1])]
    except (KeyError, ValueError, IndexError, TypeError, OSError) as error:
        raise DataError(f"{path}: expected annotations of BSDS500, groundTruth with Boundaries, got {error}") from error


def score_edges(
    panels: Iterable[Mapping[str, Float[np.ndarray, "H W"]]],
    images: Sequence[AnnotatedImage],
    levels: int = THRESHOLDS,
    processes: int = 1,
) -> dict[str, BoundaryScores]:
    """Score the edge maps that methods made of images, by the methods' names.

    - `panels`: for each of the images, in their order, every method's strengths in [0, 1] at the image's own size;
      may be made while earlier ones are scored.
    - `levels`: number of thresholds; the benchmark has 99.
    - `processes`: that count, beside this one; 1 counts here.

    Raises InputError when a map's shape is not its image's, and as `boundary_counts` does.
    """
    at = thresholds(levels)
    jobs = (
        (name, each, image, at) for panel, image in zip(panels, images, strict=True) for name, each in panel.items()
    )
    counts: dict[str, list[BoundaryCounts]] = {}
    for name, each in bounded_map(_count, jobs, processes):
        counts.setdefault(name, []).append(each)
    return {name: boundary_scores(each, at) for name, each in counts.items()}


def _count(job: tuple[str, np.ndarray, AnnotatedImage, np.ndarray]) -> tuple[str, BoundaryCounts]:
    name, edges, image, at = job
    annotations = read_boundaries(image.annotations)
    if edges.shape != annotations[0].shape:
        height, width = annotations[0].shape
        raise InputError(f"edges: expected {height}×{width} pixels for {image.name}, got {list(edges.shape)}")
    return name, boundary_counts(edges, annotations, at)
