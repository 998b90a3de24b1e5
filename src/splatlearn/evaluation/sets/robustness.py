"""How far features follow the object rather than the Gaussians that were drawn of it, and its parts.

Source of the protocols: Gaussian-JEPA (arXiv 2608.15651). Letters in shapes: N sets, D numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.data.image_sets.samples import SampleSource
from splatlearn.evaluation.sets.features import SetExtraction, part_of, set_features
from splatlearn.models.splats.presets import SplatModel

REMOVED = (0.0, 0.3, 0.55, 0.7, 0.85)
"""Shares of a set's Gaussians that are removed in partial views."""


@dataclass(frozen=True)
class Robustness:
    """Of a set of objects.

    - `drift`: the distance of two draws of one object over the mean distance to other objects, in features of unit
      length; 0 is best.
    - `recall`: by the share of Gaussians that are removed, the share of partial views whose nearest whole object, of
      another draw, is their own.
    """

    drift: float
    recall: dict[float, float]

    @property
    def area(self) -> float:
        """The mean of the recalls over the shares that are removed, by the trapezoidal rule."""
        shares = sorted(self.recall)
        if len(shares) < 2:
            return self.recall[shares[0]]
        parts = zip(shares, shares[1:], strict=False)
        whole = sum((b - a) * (self.recall[a] + self.recall[b]) / 2.0 for a, b in parts)
        return whole / (shares[-1] - shares[0])


def relative_drift(one: Float[Tensor, "N D"], other: Float[Tensor, "N D"]) -> float:
    """The mean distance of corresponding rows over the mean distance to all other rows, of rows of unit length.

    Raises InputError for fewer than two rows.
    """
    if len(one) < 2:
        raise InputError(f"one: expected at least two objects, got {len(one)}")
    distances = torch.cdist(F.normalize(one.double(), dim=1), F.normalize(other.double(), dim=1))
    same = distances.diagonal().mean()
    others = (distances.sum() - distances.diagonal().sum()) / (distances.numel() - len(distances))
    return float(same / others)


def recall_at_one(queries: Float[Tensor, "N D"], gallery: Float[Tensor, "N D"]) -> float:
    """The share of queries whose nearest row of the gallery, by cosine, is the one of the same index."""
    nearest = (F.normalize(queries.double(), dim=1) @ F.normalize(gallery.double(), dim=1).T).argmax(dim=1)
    return float((nearest == torch.arange(len(queries))).double().mean())


def robustness(
    model: SplatModel,
    source: SampleSource,
    removed: tuple[float, ...] = REMOVED,
    extraction: SetExtraction | None = None,
) -> Robustness:
    """Drift between two draws of each object of a source, and retrieval of partial views among whole objects."""
    extraction = extraction or SetExtraction()
    whole, again = (set_features(model, source, part_of(extraction, 1.0, draw)).values for draw in (0, 1))
    recall = {0.0: recall_at_one(again, whole)} if 0.0 in removed else {}
    for share in removed:
        if share > 0.0:
            partial = set_features(model, source, part_of(extraction, 1.0 - share, 2)).values
            recall[share] = recall_at_one(partial, whole)
    return Robustness(relative_drift(again, whole), recall)
