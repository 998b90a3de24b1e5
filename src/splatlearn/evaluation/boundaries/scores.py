"""The boundary benchmark of BSDS500: precision and recall of edges over thresholds (Arbelaez et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from splatlearn.core.errors import InputError
from splatlearn.evaluation.boundaries.matching import TOLERANCE, Annotated
from splatlearn.evaluation.boundaries.thinning import thin
from splatlearn.evaluation.choices import THRESHOLDS

STEPS_BETWEEN = 100
"""Places between two thresholds at which precision and recall are interpolated for the best F."""


@dataclass(frozen=True, eq=False)
class BoundaryCounts:
    """Boundary pixels of one image at T thresholds.

    `found` of `annotated` pixels, summed over annotators, and `right` of `predicted` pixels, each [T].
    """

    found: Float[np.ndarray, " T"]
    annotated: Float[np.ndarray, " T"]
    right: Float[np.ndarray, " T"]
    predicted: Float[np.ndarray, " T"]

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return BoundaryCounts(*(mine + its for mine, its in pairs))

    @property
    def recall(self) -> Float[np.ndarray, " T"]:
        """Share of annotated pixels that were found, 0 without any."""
        return self.found / np.maximum(self.annotated, 1.0)

    @property
    def precision(self) -> Float[np.ndarray, " T"]:
        """Share of predicted pixels that are right, 0 without any."""
        return self.right / np.maximum(self.predicted, 1.0)


@dataclass(frozen=True)
class Operation:
    """One threshold and what it gives."""

    threshold: float
    recall: float
    precision: float
    f: float


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Scores of a set of images.

    - `ods`: one threshold for all images, the best; `ois`: the best for each, its threshold NaN.
    - `ap`: area under the curve of precision over recall.
    - `images`: each image's best; `curve`: all images at each threshold.
    """

    ods: Operation
    ois: Operation
    ap: float
    images: tuple[Operation, ...]
    curve: tuple[Operation, ...]

    def summary(self) -> dict[str, float]:
        """ODS, OIS and AP, with the threshold, recall and precision of the first."""
        return {
            "ods": self.ods.f,
            "ois": self.ois.f,
            "ap": self.ap,
            "ods_threshold": self.ods.threshold,
            "ods_recall": self.ods.recall,
            "ods_precision": self.ods.precision,
        }


def thresholds(count: int = THRESHOLDS) -> Float[np.ndarray, " T"]:
    """`count` thresholds k/(count + 1). Raises InputError for a count below 1."""
    if count < 1:
        raise InputError(f"thresholds: expected at least 1, got {count}")
    # linspace as the original has it: 1/3 of a file of 8 bits is on the other side of the quotient.
    return np.linspace(1.0 / (count + 1), 1.0 - 1.0 / (count + 1), count)


def boundary_counts(
    edges: Float[np.ndarray, "H W"],
    annotations: Sequence[Bool[np.ndarray, "H W"]],
    levels: Float[np.ndarray, " T"] | None = None,
    tolerance: float = TOLERANCE,
) -> BoundaryCounts:
    """Count the boundary pixels of one image at each threshold.

    - `edges`: strengths in [0, 1]; pixels of at least a threshold are thinned to lines.
    - `annotations`: boundaries drawn by each annotator, at least one.
    - `levels`: the thresholds; 99 by default.

    Raises InputError for shapes that differ, strengths that are not finite and no annotations.
    """
    if not annotations:
        raise InputError("annotations: expected at least one, got none")
    if not np.isfinite(edges).all():
        raise InputError("edges: expected finite strengths, got NaN or infinity")
    levels = thresholds() if levels is None else levels
    return map_counts([edges >= level for level in levels], annotations, tolerance)


def map_counts(
    maps: Sequence[Bool[np.ndarray, "H W"]],
    annotations: Sequence[Bool[np.ndarray, "H W"]],
    tolerance: float = TOLERANCE,
) -> BoundaryCounts:
    """Count the boundary pixels of binary maps, one for each threshold, thinned first; raises as `boundary_counts`."""
    prepared = [Annotated(annotation, tolerance) for annotation in annotations]
    total = float(sum(annotation.count for annotation in prepared))
    rows: list[tuple[float, float, float, float]] = []
    before = None
    for each in maps:
        # Thresholds beyond one another's values give the same map again.
        if before is None or not np.array_equal(each, before):
            lines = np.flatnonzero(thin(each))
            hits = [annotation.match(each.shape, lines) for annotation in prepared]
            found = float(sum(hit.sum() for hit in hits))
            rows.append((found, total, float(np.logical_or.reduce(hits).sum()), float(len(lines))))
        else:
            rows.append(rows[-1])
        before = each
    return BoundaryCounts(*np.array(rows, dtype=np.float64).T)


def boundary_scores(counts: Sequence[BoundaryCounts], levels: Float[np.ndarray, " T"] | None = None) -> BoundaryScores:
    """The scores of a set of images from the counts of each. Raises InputError for no images."""
    if not counts:
        raise InputError("counts: expected the counts of at least one image, got none")
    levels = thresholds(len(counts[0].found)) if levels is None else levels
    total = sum(counts[1:], counts[0])
    best = [int(f_measure(each.recall, each.precision).argmax()) for each in counts]
    picked = [
        BoundaryCounts(*(values[index : index + 1] for values in vars(each).values()))
        for each, index in zip(counts, best, strict=True)
    ]
    chosen = sum(picked[1:], picked[0])
    curve = zip(levels, total.recall, total.precision, f_measure(total.recall, total.precision), strict=True)
    recall, precision = float(chosen.recall[0]), float(chosen.precision[0])
    return BoundaryScores(
        ods=_best(levels, total),
        ois=Operation(float("nan"), recall, precision, float(f_measure(chosen.recall, chosen.precision)[0])),
        ap=_area(total),
        images=tuple(_best(levels, each) for each in counts),
        curve=tuple(Operation(*map(float, point)) for point in curve),
    )


def f_measure(recall: Float[np.ndarray, " T"], precision: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """The harmonic mean, 0 where both are 0."""
    both = recall + precision
    return 2.0 * recall * precision / np.where(both == 0, 1.0, both)


def _best(levels: Float[np.ndarray, " T"], counts: BoundaryCounts) -> Operation:
    """The best F along the curve, interpolated between neighbouring thresholds as the original does."""
    share = np.linspace(0.0, 1.0, STEPS_BETWEEN)[:, None]

    def between(values: np.ndarray) -> np.ndarray:
        if len(values) == 1:
            return values
        return (values[1:] * share + values[:-1] * (1.0 - share)).T.reshape(-1)

    level, recall, precision = (between(values) for values in (levels, counts.recall, counts.precision))
    f = f_measure(recall, precision)
    index = int(f.argmax())
    return Operation(float(level[index]), float(recall[index]), float(precision[index]), float(f[index]))


def _area(counts: BoundaryCounts) -> float:
    """Precision at recalls 0, 0.01 … 1, interpolated between those that occur and 0 beyond them, times 0.01."""
    recall, first = np.unique(counts.recall, return_index=True)
    if len(recall) < 2:
        return 0.0
    at = np.linspace(0.0, 1.0, 101)
    found = np.interp(at, recall, counts.precision[first], left=0.0, right=0.0)
    return float(found.sum() * 0.01)
