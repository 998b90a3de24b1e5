"""Weighted nearest neighbours (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import NEIGHBOURS, TEMPERATURE
from splatlearn.evaluation.features.extraction import Features

AT_ONCE = 2**26
"""Similarities in memory at once, 256 MiB of them."""


def knn_scores(
    features: Features, neighbours: int = NEIGHBOURS, temperature: float = TEMPERATURE
) -> Float[Tensor, "M C"]:
    """The votes for each of C classes: of the nearest training images by cosine, weighted by exp(cosine / temperature).

    Votes of an image sum to 1. Raises InputError for a temperature that is not positive and for more neighbours than
    there are images to learn from.
    """
    if not 1 <= neighbours <= len(features.train):
        raise InputError(
            f"neighbours: expected a number from 1 to {len(features.train)}, the images to learn from, got {neighbours}"
        )
    if not temperature > 0:
        raise InputError(f"temperature: expected a number above 0, got {temperature}")
    train = F.normalize(features.train, dim=1)
    rows = max(1, AT_ONCE // len(train))
    return torch.cat([_votes(part, train, features, neighbours, temperature) for part in features.val.split(rows)])


def _votes(part: Tensor, train: Tensor, features: Features, neighbours: int, temperature: float) -> Tensor:
    cosines, nearest = (F.normalize(part, dim=1) @ train.T).topk(neighbours, dim=1)
    weights = (cosines / temperature).softmax(dim=1)
    votes = weights.new_zeros(len(part), len(features.classes))
    return votes.scatter_add_(1, features.train_labels[nearest], weights)
