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
    """Which probes: knn, linear, naive-bayes, few-shot."""
    pooling: Pooling = POOLING
    """One vector of an image: the mean of the patches' tokens (mean) or the class token (cls)."""
    block: int | None = None
    """Block of the encoder, from 1, whose tokens are taken. Default: the last."""
    controls: bool = True
    """Give a random-weights encoder and raw pixels the same probes."""
    diagnostics: bool = True
    """Compare two random crops of validation images too: alignment, uniformity and the effective rank."""
    neighbours: int = NEIGHBOURS
    """Nearest images that vote (knn); at most as many as there are."""
    knn_temperature: float = TEMPERATURE
    """Temperature of the votes, by which cosines are divided (knn)."""
    linear: Linear = "auto"
    """logistic: scikit-learn's, regularisation swept; lars: MAE's recipe; auto: logistic up to 50,000 images."""
    shots: tuple[int, ...] | None = None
    """Images of each class (few-shot). Default: 1, 5 and 10, as far as there are as many."""
    shares: tuple[float, ...] = SHARES
    """Shares of the images (few-shot)."""
    draws: int = DRAWS
    """Draws of each budget (few-shot)."""
    seed: int = 0
    """Fixes draws, splits and orders; the same images are drawn for every model."""

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
