"""The options of an evaluation, which are those of `splatlearn evaluate`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from splatlearn.core.errors import InputError
from splatlearn.evaluation.choices import DRAWS, NEIGHBOURS, POOLING, SHARES, TEMPERATURE, Pooling

Probe = Literal["knn", "linear", "naive-bayes", "few-shot"]
Linear = Literal["auto", "logistic", "lars"]

PROBES: tuple[Probe, ...] = ("knn", "linear", "naive-bayes", "few-shot")


@dataclass(frozen=True)
class EvaluationOptions:
    """Probes of the features, and their options."""

    probes: tuple[Probe, ...] = PROBES
    """Probes to run: knn, linear, naive-bayes, few-shot."""
    pooling: Pooling = POOLING
    """Feature of an image: the mean of its patch tokens (mean) or the class token (cls)."""
    block: int | None = None
    """Encoder block, counted from 1, whose tokens are used. Default: the last."""
    controls: bool = True
    """Run the same probes on an encoder with random weights and on raw pixels."""
    diagnostics: bool = True
    """Also compute alignment, uniformity and effective rank from two random crops of each validation image."""
    neighbours: int = NEIGHBOURS
    """Number of nearest images that vote (knn); it is limited to the number of training images."""
    knn_temperature: float = TEMPERATURE
    """Temperature of the votes, which divides the cosine similarities (knn)."""
    linear: Linear = "auto"
    """logistic: scikit-learn's logistic regression with a sweep of the regularisation; lars: MAE's recipe; auto:
    logistic up to 50,000 images, then lars."""
    shots: tuple[int, ...] | None = None
    """Numbers of training images per class (few-shot). Default: those of 1, 5 and 10 that every class has."""
    shares: tuple[float, ...] = SHARES
    """Fractions of the training images (few-shot)."""
    draws: int = DRAWS
    """Number of random draws for each number or fraction of images (few-shot)."""
    seed: int = 0
    """Seed of draws, splits and orders; the same images are drawn for every model."""

    def __post_init__(self) -> None:
        for name, values, known in (("probes", self.probes, Probe), ("linear", (self.linear,), Linear)):
            for value in values:
                if value not in get_args(known):
                    raise InputError(f"{name}: expected some of {', '.join(get_args(known))}, got {value!r}")
        if not self.probes:
            raise InputError(f"probes: expected at least one of {', '.join(PROBES)}, got none")
        for name, value in (("neighbours", self.neighbours), ("draws", self.draws)):
            if value < 1:
                raise InputError(f"{name}: expected a positive number, got {value}")
        if not 0 < self.knn_temperature < math.inf:
            raise InputError(f"knn_temperature: expected a number above 0, got {self.knn_temperature}")
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed: expected a number from 0 to 2**64 - 1, got {self.seed}")
        for shots in self.shots or ():
            if shots < 1:
                raise InputError(f"shots: expected positive numbers of images, got {shots}")
        for share in self.shares:
            if not 0 < share < 1:
                raise InputError(f"shares: expected shares in (0, 1), got {share}")

    @property
    def features_name(self) -> str:
        """Name of the features in reports."""
        pooled = "class token" if self.pooling == "cls" else "mean of patch tokens"
        return pooled if self.block is None else f"{pooled}, block {self.block}"
