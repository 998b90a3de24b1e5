"""The probes on features that are standardised, and what they scored."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.evaluation.features.extraction import Features, Progress
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.probes.few_shot import Budget, distinct_budgets, few_shot_draw, possible_shots
from splatlearn.evaluation.probes.knn import knn_scores
from splatlearn.evaluation.probes.linear import LarsRecipe, Told, lars_scores, logistic_scores
from splatlearn.evaluation.probes.naive_bayes import diagonal_scores, shared_scores
from splatlearn.evaluation.results import Score, Setting

LOGISTIC_UP_TO = 50_000
"""Images up to which "auto" takes logistic regression, and beyond which LARS."""

FEW_LABELS: dict[str, Callable[[Features], Tensor]] = {
    "few-shot linear": lambda features: logistic_scores(features).scores,
    "few-shot naive Bayes, diagonal": diagonal_scores,
    "few-shot naive Bayes, shared": shared_scores,
}
"""The classifiers that are given few labels."""


def probe_scores(
    features: Features, options: EvaluationOptions, name: str = "model", progress: Progress | None = None
) -> tuple[Score, ...]:
    """The scores of the probes that the options ask for, on standardised features.

    `name` is what `progress` is told they are of. Raises InputError for shots that there are not as many images for.
    """
    told = progress or (lambda what, done, total: None)
    scores: list[Score] = []
    if "knn" in options.probes:
        told(f"{name}: knn", 0, 1)
        scores.append(_knn(features, options))
    if "linear" in options.probes:
        scores.append(_linear(features, options, partial(told, f"{name}: linear")))
    if "naive-bayes" in options.probes:
        told(f"{name}: naive Bayes", 0, 1)
        scores.append(_score("naive Bayes, diagonal", diagonal_scores(features), features))
        scores.append(_score("naive Bayes, shared", shared_scores(features), features))
    if "few-shot" in options.probes:
        budgets = budgets_of(features.train_labels, features.classes, options)
        for number, (label, budget) in enumerate(budgets.items()):
            told(f"{name}: few-shot", number, len(budgets))
            scores.extend(_few_shot(features, label, budget, options))
    return tuple(scores)


def budgets_of(labels: Int64[Tensor, " N"], classes: tuple[str, ...], options: EvaluationOptions) -> dict[str, Budget]:
    """The budgets of few-shot probes by their names: the shots given, else the usual possible ones, and the shares.

    Those of the same images are one. Raises InputError for more shots than a class has images.
    """
    shots = possible_shots(labels, classes) if options.shots is None else options.shots
    return distinct_budgets(labels, classes, (*shots, *options.shares))


def accuracy(scores: Float[Tensor, "M C"], features: Features, best: int = 1) -> float:
    """Share of the images whose class is among the `best` likeliest."""
    likeliest = scores.topk(best, dim=1).indices
    return float((likeliest == features.val_labels.unsqueeze(1)).any(dim=1).double().mean())


def _knn(features: Features, options: EvaluationOptions) -> Score:
    neighbours = min(options.neighbours, len(features.train))
    scores = knn_scores(features, neighbours, options.knn_temperature)
    return _score("knn", scores, features, {"neighbours": neighbours, "temperature": options.knn_temperature})


def _linear(features: Features, options: EvaluationOptions, told: Told) -> Score:
    small = len(features.train) <= LOGISTIC_UP_TO
    if options.linear == "logistic" or (options.linear == "auto" and small):
        found = logistic_scores(features, options.seed, told)
        settings: dict[str, Setting] = {"by": "logistic", "C": found.strength, "converged": found.converged}
        return _score("linear", found.scores, features, settings)
    recipe = LarsRecipe(seed=options.seed)
    settings = {"by": "lars", "epochs": recipe.epochs, "batch_size": recipe.batch(len(features.train))}
    return _score("linear", lars_scores(features, recipe, told), features, settings)


def _few_shot(features: Features, label: str, budget: Budget, options: EvaluationOptions) -> list[Score]:
    labels, classes = features.train_labels, features.classes
    draws = [few_shot_draw(labels, classes, budget, draw, options.seed) for draw in range(options.draws)]
    right = {
        probe: [accuracy(classify(features.chosen(chosen)), features) for chosen in draws]
        for probe, classify in FEW_LABELS.items()
    }
    return [
        Score(
            probe,
            statistics.fmean(values),
            label,
            deviation=statistics.stdev(values) if len(values) > 1 else None,
            draws=tuple(values),
            settings={"images": len(draws[0])},
        )
        for probe, values in right.items()
    ]


def _score(probe: str, scores: Tensor, features: Features, settings: dict[str, Setting] | None = None) -> Score:
    if not bool(torch.isfinite(scores.max(dim=1).values).all()):
        raise InputError(f"{probe}: expected finite scores, got NaN or infinity; the features may be too large")
    top5 = accuracy(scores, features, 5) if len(features.classes) > 5 else None
    return Score(probe, accuracy(scores, features), top5=top5, settings=settings or {})
