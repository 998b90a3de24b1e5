"""Linear probes: logistic regression with its regularisation chosen on train, and the recipe with LARS."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import half_cosine
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import sample_order
from splatlearn.evaluation.features.extraction import Features
from splatlearn.evaluation.probes.lars import LARS

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Told = Callable[[int, int], None]
"""Told how many parts of a fit are done, and their number."""

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of scikit-learn's C, the inverse of regularisation, that are tried."""
FEW_STRENGTH = 0.1
"""C where there are too few images to choose it by holding some out."""
HELD_OUT = 0.2
"""Share of each class of train on which C is chosen."""
FEWEST = 5
"""Images that the smallest class needs for that."""
FEW_NUMBERS = 10**7
"""Images × features × classes up to which a fit takes one thread: more would wait for one another."""
SWEEP_ITERATIONS = 300
FINAL_ITERATIONS = 1000
"""Largest number of iterations of L-BFGS, for each C that is tried and for the last fit."""


@dataclass(frozen=True)
class LarsRecipe:
    """The linear probe of MAE on features extracted once, which means without its random crops and flips.

    It is made for a million images: steps are small shares of the weights, so that on some ten thousand images it ends
    far from where logistic regression does.

    `batch_size`: None takes a 64th of the images, as a power of two from 64 to the recipe's 16384. Raises InputError
    for numbers out of range. Source: He et al. 2022 (arXiv 2111.06377), table 10.
    """

    epochs: int = 90
    batch_size: int | None = None
    base_learning_rate: float = 0.1
    warmup_epochs: int = 10
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.warmup_epochs < 0 or not 0 <= self.momentum < 1 or not self.base_learning_rate > 0:
            raise InputError(
                "epochs, warmup_epochs, base_learning_rate, momentum: expected positive numbers and a momentum below "
                f"1, got {self.epochs}, {self.warmup_epochs}, {self.base_learning_rate}, {self.momentum}"
            )
        if self.batch_size is not None and self.batch_size < 2:
            raise InputError(f"batch_size: expected at least 2, which batch normalisation needs, got {self.batch_size}")

    def batch(self, images: int) -> int:
        """Images of a step."""
        wanted = self.batch_size or 2 ** int(math.log2(min(16384, max(64, images // 64))))
        return min(wanted, images)


@dataclass(frozen=True, eq=False)
class Regression:
    """Class probabilities [M, C] of a logistic regression, its C, and whether the fit came to its end."""

    scores: Float[Tensor, "M C"]
    strength: float
    converged: bool


def logistic_scores(features: Features, seed: int = 0, told: Told | None = None) -> Regression:
    """Logistic regression by scikit-learn, its C chosen by the accuracy on a fifth of train, then fitted on all of it.

    Of equally accurate values the smallest wins. Where a class has fewer than five images, C is 0.1. `told` is called
    with the number of fits done and of all.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = features.train.double().numpy(), features.train_labels.numpy()
    val = features.val.double().numpy()
    if len(x) < x.shape[1]:
        x, val = _in_span(x, val)
    strength = FEW_STRENGTH
    if np.bincount(y, minlength=len(features.classes)).min() >= FEWEST:
        strength = _choose_strength(x, y, len(features.classes), seed, told)
    if told is not None:
        told(len(STRENGTHS), len(STRENGTHS) + 1)
    model = LogisticRegression(C=strength, max_iter=FINAL_ITERATIONS)
    converged = _fit(model, x, y)
    scores = torch.zeros(len(features.val), len(features.classes), dtype=torch.float64)
    scores[:, torch.from_numpy(model.classes_)] = torch.from_numpy(model.predict_proba(val))
    return Regression(scores.float(), strength, converged)


def _in_span(x: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in coordinates of the space that the rows of `x` span.

    The best weights lie in that space, because weights outside it cost and change no score of `x`; and turning the
    coordinates changes no length. So the fit is the same, in as many numbers as there are images.
    """
    axes = np.linalg.svd(x, full_matrices=False)[2].T
    return x @ axes, others @ axes


def _choose_strength(x: np.ndarray, y: np.ndarray, classes: int, seed: int, told: Told | None) -> float:
    from sklearn.linear_model import LogisticRegression

    held_out = _held_out(y, classes, seed)
    # Each fit starts from the one before, which was regularised more.
    model = LogisticRegression(warm_start=True, max_iter=SWEEP_ITERATIONS)
    right = []
    for done, strength in enumerate(STRENGTHS):
        if told is not None:
            told(done, len(STRENGTHS) + 1)
        model.set_params(C=strength)
        _fit(model, x[~held_out], y[~held_out])
        right.append(float(np.mean(model.predict(x[held_out]) == y[held_out])))
    return STRENGTHS[int(np.argmax(right))]


def _held_out(y: np.ndarray, classes: int, seed: int) -> np.ndarray:
    chosen = np.zeros(len(y), dtype=bool)
    for place in range(classes):
        members = np.flatnonzero(y == place)
        order = generator(seed, 0, place, Purpose.SPLIT).permutation(len(members))
        chosen[members[order[: round(HELD_OUT * len(members))]]] = True
    return chosen


def _fit(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> bool:
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    few = x.size * (int(y.max()) + 1) <= FEW_NUMBERS
    with warnings.catch_warnings(), threadpool_limits(limits=1 if few else None):
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Said of one image of each class, as of labels that are really numbers.
        warnings.filterwarnings("ignore", "The number of unique classes")
        model.fit(x, y)
    return int(np.max(model.n_iter_)) < FINAL_ITERATIONS


def lars_scores(features: Features, recipe: LarsRecipe | None = None, told: Told | None = None) -> Float[Tensor, "M C"]:
    """Logits of a linear head behind batch normalisation without parameters, trained by LARS.

    The rate warms up linearly and falls with a cosine, both step by step; the order of an epoch is a function of
    (seed, epoch). The last batch of an epoch is dropped where it is smaller. `told` is called with the number of
    epochs done and of all. Raises InputError for a single image.
    """
    recipe = recipe or LarsRecipe()
    if len(features.train) < 2:
        raise InputError("train: expected at least 2 images, which batch normalisation needs, got 1")
    size = recipe.batch(len(features.train))
    steps = len(features.train) // size
    norm, head = nn.BatchNorm1d(features.train.shape[1], eps=1e-6, affine=False), _head(features, recipe.seed)
    optimizer = LARS(head.parameters(), lr=0.0, momentum=recipe.momentum)
    for epoch in range(recipe.epochs):
        if told is not None:
            told(epoch, recipe.epochs)
        order = sample_order(len(features.train), recipe.seed, epoch)(np.arange(steps * size))
        for step, chosen in enumerate(torch.from_numpy(order).split(size)):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, epoch + step / steps, size)
            loss = F.cross_entropy(head(norm(features.train[chosen])), features.train_labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    norm.eval()
    with torch.no_grad():
        return head(norm(features.val))


def learning_rate(recipe: LarsRecipe, epoch: float, batch_size: int) -> float:
    """The rate at a (fractional) epoch for a batch size: base · batch / 256 at the peak."""
    peak = recipe.base_learning_rate * batch_size / 256
    if epoch < recipe.warmup_epochs:
        return peak * epoch / recipe.warmup_epochs
    rest = max(recipe.epochs - recipe.warmup_epochs, 1)
    return peak * half_cosine(epoch - recipe.warmup_epochs, rest)


def _head(features: Features, seed: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        head = nn.Linear(features.train.shape[1], len(features.classes))
    nn.init.trunc_normal_(head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(head.bias)
    return head
