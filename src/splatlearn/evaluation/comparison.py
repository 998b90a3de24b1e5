"""Runs side by side: the same recipe's runs are paired with another's by their seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.core.typed import flat, shown
from splatlearn.evaluation.results import EVALUATION_NAME, Evaluation, read_evaluations

CONFIDENCE = 0.95
"""Level of the confidence interval of a mean difference."""


@dataclass(frozen=True)
class Run:
    """A run's folder, its recipe without the seed and without where it ran, its seed, and its evaluations."""

    folder: Path
    recipe: Mapping[str, Any]
    seed: int | None
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Difference:
    """Mean difference of an arm's scores from the first arm's, from `pairs` runs with the same seed.

    `low` and `high` bound the mean by Student's t, at 95 %, where there are two pairs or more.
    """

    pairs: int
    mean: float
    deviation: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def exceeds_noise(self) -> bool | None:
        """Whether the interval leaves 0 out; None where fewer than two pairs cannot tell."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0

    @property
    def verdict(self) -> str:
        """Whether the difference exceeds the noise, in words."""
        if self.exceeds_noise is None:
            return "one pair cannot tell" if self.pairs else "no seed in common"
        return ("higher" if self.mean > 0 else "lower") if self.exceeds_noise else "within the noise"


@dataclass(frozen=True)
class Row:
    """A score in all arms: by seed, and what each arm after the first differs by."""

    key: str
    metric: str
    values: tuple[Mapping[int | None, float], ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """The rows of one data set and one kind of features; `arms` are recipes, the first is what others differ from."""

    title: str
    val_images: int
    arms: tuple[str, ...]
    rows: tuple[Row, ...]


def read_run(folder: str | Path) -> Run:
    """Read what a run's folder says of its recipe and its evaluations.

    A folder without `recipe.json`, such as a model's, is an arm of its own. Raises FileNotFoundError without
    evaluations and ValueError for files that cannot be read.
    """
    path = Path(folder)
    evaluations = tuple(read_evaluations(path))
    if not evaluations:
        raise MissingError(
            f"{path}: expected a run with {EVALUATION_NAME}, found none; make it with `splatlearn evaluate {path}`"
        )
    stored = path / "recipe.json"
    if not stored.is_file():
        return Run(path, {"folder": path.name}, None, evaluations)
    recipe = read_object(stored)
    run = recipe.pop("run", None)
    seed = run.get("seed") if isinstance(run, dict) else None
    if type(seed) is not int:
        raise FormatError(f"{stored}: expected the recipe of a run with its run.seed, got {shown(seed)}")
    return Run(path, flat(recipe), seed, evaluations)


def compare_runs(runs: Sequence[Run]) -> list[Comparison]:
    """Compare recipes on everything that all runs were evaluated on alike: same images, features and draws.

    Runs of one recipe with different seeds are one arm, in the order of their first run. Differences are paired by
    seed: mean, standard deviation, and the 95 % interval by Student's t. No correction is made for many rows. Raises
    ValueError for two runs of the same recipe and seed, and runs with no evaluation in common.
    """
    arms = _arms(runs)
    names = _arm_names([arm[0].recipe for arm in arms])
    found = [{_kind(each): each for each in run.evaluations} for run in runs]
    shared = [kind for kind in found[0] if all(kind in each for each in found)]
    if not shared:
        raise InputError(
            "runs: expected runs evaluated on the same images and features, but "
            + "; ".join(f"{run.folder} on {', '.join(each.title for each in run.evaluations)}" for run in runs[:3])
            + "; evaluate them with the same data and options first"
        )
    return [_comparison(kind, arms, names) for kind in shared]


def paired_difference(first: Mapping[int | None, float], other: Mapping[int | None, float]) -> Difference:
    """Mean difference of the scores of `other` and `first`, over the seeds that both have."""
    differences = [other[seed] - first[seed] for seed in first if seed in other]
    if not differences:
        return Difference(0, math.nan)
    mean = statistics.fmean(differences)
    if len(differences) == 1:
        return Difference(1, mean)
    deviation = statistics.stdev(differences)
    reach = float(stdtrit(len(differences) - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(len(differences))
    return Difference(len(differences), mean, deviation, mean - reach, mean + reach)


def _kind(evaluation: Evaluation) -> tuple[str, str, int]:
    return evaluation.contents, evaluation.features, evaluation.seed


def _arms(runs: Sequence[Run]) -> list[list[Run]]:
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arm = arms.setdefault(json.dumps(run.recipe, sort_keys=True), [])
        for other in arm:
            if other.seed == run.seed:
                raise InputError(
                    f"runs: expected one run for each recipe and seed, got {other.folder} and {run.folder}, both of "
                    f"seed {run.seed}"
                )
        arm.append(run)
    return list(arms.values())


def _arm_names(recipes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What sets each recipe apart: the values of the keys in which they differ, the method first."""
    keys = [key for key in dict.fromkeys(key for each in recipes for key in each)]
    differing = [key for key in keys if len({json.dumps(each.get(key)) for each in recipes}) > 1]
    if "method" in differing and len({each.get("method") for each in recipes}) == len(recipes):
        return tuple(str(each.get("method", each.get("folder"))) for each in recipes)
    named = [[(key, each[key]) for key in differing if key in each] for each in recipes]
    return tuple(
        ", ".join(str(value) if key in ("method", "folder") else f"{key} {value}" for key, value in each) or "all runs"
        for each in named
    )


def _comparison(kind: tuple[str, str, int], arms: list[list[Run]], names: tuple[str, ...]) -> Comparison:
    scores: list[dict[int | None, dict[str, Any]]] = [
        {run.seed: _scores(next(each for each in run.evaluations if _kind(each) == kind)) for run in arm}
        for arm in arms
    ]
    every = [by_key for arm in scores for by_key in arm.values()]
    rows = []
    for key, score in every[0].items():
        if not all(key in each for each in every):
            continue
        values = tuple({seed: by_key[key].value for seed, by_key in arm.items()} for arm in scores)
        differences = tuple(paired_difference(values[0], each) for each in values[1:])
        rows.append(Row(key, score.metric, values, differences))
    first = next(each for each in arms[0][0].evaluations if _kind(each) == kind)
    return Comparison(first.title, first.val_images, names, tuple(rows))


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    return {score.key: score for score in evaluation.model.scores}
