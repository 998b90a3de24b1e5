"""The photographs and annotations of BSDS500 on disk, and their scores in parallel."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Bool, Float

from splatlearn.data import DataError
from splatlearn.data.folder import IMAGE_EXTENSIONS
from splatlearn.evaluation.bsds import (
    THRESHOLDS,
    BoundaryCounts,
    BoundaryScores,
    boundary_counts,
    boundary_scores,
    thresholds,
)

PUBLISHED = {"gPb-owt-ucm": {"ods": 0.726, "ois": 0.760, "ap": 0.727}, "human": {"ods": 0.80}}
"""Figures on the 200 test images from Arbelaez et al. 2011, table 1 (AP from the results they distribute)."""


@dataclass(frozen=True)
class AnnotatedImage:
    """A photograph and the file of its annotations."""

    image: Path
    annotations: Path

    @property
    def name(self) -> str:
        """The number that BSDS gives it."""
        return self.image.stem


def open_bsds(folder: str | Path, split: str = "test", limit: int | None = None) -> list[AnnotatedImage]:
    """The photographs of a split, `images/SPLIT/ID.jpg` with `groundTruth/SPLIT/ID.mat`, in the order of their names.

    `limit`: the first so many. Raises DataError when a folder or an annotation is missing, and for a limit below 1.
    """
    root = Path(folder).expanduser()
    images, truths = root / "images" / split, root / "groundTruth" / split
    if not images.is_dir() or not truths.is_dir():
        raise DataError(f"data: expected BSDS500 with images/{split} and groundTruth/{split}, got {root}")
    if limit is not None and limit < 1:
        raise DataError(f"limit: expected at least 1 image, got {limit}")
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_EXTENSIONS)
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
    edges: Iterable[Float[np.ndarray, "H W"]],
    images: list[AnnotatedImage],
    levels: int = THRESHOLDS,
    processes: int = 1,
    advance: Callable[[], object] | None = None,
) -> BoundaryScores:
    """Score edge maps of the images' own sizes, in their order.

    - `edges`: strengths in [0, 1]; may be made while earlier ones are scored.
    - `levels`: number of thresholds; the benchmark has 99.
    - `processes`: that count, beside this one; 1 counts here.
    - `advance`: called when an image is done.

    Raises ValueError when a map's shape is not its image's, and as `boundary_counts` does.
    """
    if processes < 1:
        raise ValueError(f"processes: expected at least 1, got {processes}")
    at = thresholds(levels)
    counts = []
    for each in _counted(edges, images, at, processes):
        counts.append(each)
        if advance is not None:
            advance()
    return boundary_scores(counts, at)


def _counted(
    edges: Iterable[Float[np.ndarray, "H W"]], images: list[AnnotatedImage], at: np.ndarray, processes: int
) -> Iterator[BoundaryCounts]:
    jobs = ((each, image, at) for each, image in zip(edges, images, strict=True))
    if processes == 1:
        yield from map(_count, jobs)
        return
    # Forked processes would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(_count, jobs)


def _count(job: tuple[np.ndarray, AnnotatedImage, np.ndarray]) -> BoundaryCounts:
    edges, image, at = job
    annotations = read_boundaries(image.annotations)
    if edges.shape != annotations[0].shape:
        height, width = annotations[0].shape
        raise ValueError(f"edges: expected {height}×{width} pixels for {image.name}, got {list(edges.shape)}")
    return boundary_counts(edges, annotations, at)
