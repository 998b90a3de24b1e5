"""Scores of soft masks of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from skimage.measure import label, regionprops
from skimage.morphology import thin
from skimage.segmentation import find_boundaries

from splatlearn.core.errors import InputError
from splatlearn.evaluation.boundaries.scores import boundary_counts, f_measure

LEVELS = 255
"""Thresholds of the curve behind max-Fβ."""
BETA_SQUARED = 0.3
"""Weight of recall over precision in Fβ, as in the literature on saliency (Achanta et al. 2009)."""
CORLOC_OVERLAP = 0.5
"""Smallest overlap of two boxes that counts as found (Deselaers et al. 2010)."""


@dataclass(frozen=True, eq=False)
class MaskScore:
    """Scores of one mask.

    - `iou`, `accuracy`: of the binary mask, which is where the soft one is at least 0.5.
    - `found`: whether the box of the binary mask's largest part and that of a part of the truth overlap by a half.
    - `boundary_f`: F of the binary mask's outline, matched within .0075 of the diagonal.
    - `precision`, `recall` [LEVELS]: at each threshold of the soft mask.
    """

    iou: float
    accuracy: float
    found: bool
    boundary_f: float
    precision: Float[np.ndarray, " T"]
    recall: Float[np.ndarray, " T"]


@dataclass(frozen=True)
class FigureScores:
    """Means over images: IoU, accuracy and boundary F of binary masks, CorLoc, and the largest Fβ of the soft ones.

    Fβ is that of the mean precision and the mean recall at one threshold for all images.
    """

    iou: float
    max_f: float
    accuracy: float
    corloc: float
    boundary_f: float

    def summary(self) -> dict[str, float]:
        """The scores by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def mask_score(soft: Float[np.ndarray, "H W"], truth: Bool[np.ndarray, "H W"]) -> MaskScore:
    """Score one soft mask in [0, 1] against the true figure.

    Two empty masks have an IoU of 1. Raises InputError for shapes that differ and values that are not in [0, 1].
    """
    if soft.shape != truth.shape:
        raise InputError(f"soft: expected a mask of {list(truth.shape)} pixels like truth, got {list(soft.shape)}")
    if not (np.isfinite(soft).all() and soft.min() >= 0 and soft.max() <= 1):
        raise InputError(f"soft: expected values in [0, 1], got {soft.min()} … {soft.max()}")
    binary = soft >= 0.5
    union = int((binary | truth).sum())
    precision, recall = _curve(soft, truth)
    return MaskScore(
        iou=float((binary & truth).sum() / union) if union else 1.0,
        accuracy=float((binary == truth).mean()),
        found=_is_found(binary, truth),
        boundary_f=_boundary_f(binary, truth),
        precision=precision,
        recall=recall,
    )


def figure_scores(scores: Sequence[MaskScore]) -> FigureScores:
    """Average the scores of images. Raises InputError for none."""
    if not scores:
        raise InputError("scores: expected the scores of at least one image, got none")
    precision = np.mean([score.precision for score in scores], axis=0)
    recall = np.mean([score.recall for score in scores], axis=0)
    weighted = (1 + BETA_SQUARED) * precision * recall / np.maximum(BETA_SQUARED * precision + recall, 1e-12)
    return FigureScores(
        iou=float(np.mean([score.iou for score in scores])),
        max_f=float(weighted.max()),
        accuracy=float(np.mean([score.accuracy for score in scores])),
        corloc=float(np.mean([score.found for score in scores])),
        boundary_f=float(np.mean([score.boundary_f for score in scores])),
    )


def _curve(soft: np.ndarray, truth: np.ndarray) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Precision and recall of soft ≥ k/LEVELS, k = 1 … LEVELS; precision is 1 where nothing is figure."""
    # Adding half a rounding error keeps 0.2·255 = 51 on its level.
    bins = np.floor(soft.astype(np.float64) * LEVELS + 1e-6).astype(int)
    inside = np.bincount(bins[truth], minlength=LEVELS + 1)[::-1].cumsum()[::-1][1:]
    every = np.bincount(bins.reshape(-1), minlength=LEVELS + 1)[::-1].cumsum()[::-1][1:]
    precision = np.where(every > 0, inside / np.maximum(every, 1), 1.0)
    recall = inside / truth.sum() if truth.any() else np.ones(LEVELS)
    return precision, recall


def _is_found(binary: np.ndarray, truth: np.ndarray) -> bool:
    boxes = _boxes(binary)
    return bool(boxes) and any(_overlap(boxes[0], other) >= CORLOC_OVERLAP for other in _boxes(truth))


def _boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of each connected part, largest part first."""
    parts: Any = regionprops(label(mask, connectivity=2))
    return [part.bbox for part in sorted(parts, key=lambda part: -part.area)]


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, height) * max(0, width)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in (first, second)]
    return shared / (sum(areas) - shared)


def _boundary_f(binary: np.ndarray, truth: np.ndarray) -> float:
    """F of outlines, the inner pixels of each mask's border; 1 when neither has one."""
    mine, its = (thin(find_boundaries(mask, mode="inner")) for mask in (binary, truth))
    if not mine.any() and not its.any():
        return 1.0
    counts = boundary_counts(mine.astype(np.float32), [its], np.array([0.5]))
    return float(f_measure(counts.recall, counts.precision)[0])
