"""Few-shot classification in episodes: W classes, S sets of each to learn from, the published protocol of point clouds.

Source: Sharma and Kaul 2020; Point-BERT (Yu et al. 2022).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

import numpy as np
import torch

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator
from splatlearn.evaluation.features.extraction import Features
from splatlearn.evaluation.probes.linear import logistic_scores

QUERIES = 20
"""Sets of each class that an episode is judged on."""


@dataclass(frozen=True)
class Episodes:
    """Accuracies of episodes: their mean and standard deviation, and each."""

    ways: int
    shots: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """The standard deviation over the episodes; 0 of one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def few_shot_episodes(features: Features, ways: int, shots: int, draws: int = 10, seed: int = 0) -> Episodes:
    """Logistic regression on `shots` features of each of `ways` classes, judged on twenty others of each, all of train.

    Classes and sets of each draw are the same for all features. Raises InputError for more ways than classes, and for
    classes of too few sets.
    """
    classes = len(features.classes)
    if not 2 <= ways <= classes:
        raise InputError(f"ways: expected a number from 2 to {classes}, the classes, got {ways}")
    counts = torch.bincount(features.train_labels, minlength=classes)
    if int(counts.min()) < shots + QUERIES:
        raise InputError(
            f"shots: expected at most {int(counts.min()) - QUERIES}, so that {QUERIES} sets of the smallest class are "
            f"left to judge on, got {shots}"
        )
    return Episodes(ways, shots, tuple(_episode(features, ways, shots, draw, seed) for draw in range(draws)))


def _episode(features: Features, ways: int, shots: int, draw: int, seed: int) -> float:
    rng = generator(seed, draw, ways * 1000 + shots, Purpose.SPLIT)
    chosen = np.sort(rng.permutation(len(features.classes))[:ways])
    learn, judge = [], []
    for label in chosen:
        members = rng.permutation(np.flatnonzero(features.train_labels.numpy() == label))
        learn.append(members[:shots])
        judge.append(members[shots : shots + QUERIES])
    rows = [torch.from_numpy(np.concatenate(each)) for each in (learn, judge)]
    place = torch.full((len(features.classes),), -1)
    place[torch.from_numpy(chosen)] = torch.arange(ways)
    part = replace(
        features,
        train=features.train[rows[0]],
        train_labels=place[features.train_labels[rows[0]]],
        val=features.train[rows[1]],
        val_labels=place[features.train_labels[rows[1]]],
        classes=tuple(features.classes[label] for label in chosen),
    ).standardized()
    scores = logistic_scores(part).scores
    return float((scores.argmax(dim=1) == part.val_labels).double().mean())
