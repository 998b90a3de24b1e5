"""What a run's folder says for a model card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.typed import flat, read_as
from splatlearn.evaluation.results import Evaluation, read_evaluations
from splatlearn.models.exchange import Target
from splatlearn.models.folders.card import CardFacts, CardScore
from splatlearn.report.run_report import Environment, read_log

POINTS = 12
"""Of a card's curve of losses."""


@dataclass(frozen=True)
class _Data:
    data: str | None = None


@dataclass(frozen=True)
class _Objective:
    mask_ratio: float = 0.75
    normalize_targets: bool | None = None


@dataclass(frozen=True)
class _Recipe:
    data: _Data = field(default_factory=_Data)
    objective: _Objective = field(default_factory=_Objective)


def run_folder_of(path: str | Path) -> Path:
    """The folder of the run that a checkpoint folder belongs to; any other path as it is."""
    folder = Path(path)
    parent = folder.resolve().parent
    return parent.parent if parent.name == "checkpoints" else folder


def run_facts(path: str | Path, license: str | None = None) -> CardFacts:
    """Name, data, recipe, scores and versions of a run, as far as its folder, or that of its checkpoint, has them.

    `license`: of the weights, as the Hub names it. Raises InputError for files that cannot be read.
    """
    folder = run_folder_of(path)
    recipe = read_object(folder / "recipe.json")
    told = _recipe(folder)
    environment = read_as(Environment, folder / "environment.json", extra=True, needed=False)
    log = folder / "log.jsonl"
    steps = [entry for entry in (read_log(log) if log.is_file() else []) if "step" in entry]
    facts = CardFacts(
        name=folder.resolve().name if recipe else None,
        data=told.data.data,
        recipe={name: value for name, value in flat(recipe).items() if not name.startswith("run.out")},
        command=environment.command,
        scores=tuple(score for each in read_evaluations(folder) for score in _scores(each)),
        versions=environment.versions,
        license=license,
    )
    if not steps:
        return facts
    return replace(facts, steps=int(steps[-1]["step"]), loss=steps[-1].get("loss"), curve=_curve(steps))


def _curve(entries: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, float], ...]:
    """The loss at a few points, equally far apart: each is the mean since the one before."""
    found = [(int(entry["step"]), entry.get("loss")) for entry in entries]
    losses = [(step, float(loss)) for step, loss in found if loss is not None and math.isfinite(loss)]
    ends = [round(len(losses) * point / POINTS) for point in range(POINTS + 1)]
    parts = [losses[begin:end] for begin, end in pairwise(ends) if end > begin]
    return tuple((part[-1][0], fmean(loss for _, loss in part)) for part in parts)


def predicted_target(path: str | Path) -> Target | None:
    """What the MAE of a run predicts, `"colors"` or `"patches"`, by its recipe; None where there is no recipe."""
    normalized = _recipe(run_folder_of(path)).objective.normalize_targets
    return None if normalized is None else "patches" if normalized else "colors"


def hidden_share(path: str | Path) -> float:
    """The share of patches that a run hides, by its recipe; that of the paper where there is none."""
    return _recipe(run_folder_of(path)).objective.mask_ratio


def _recipe(folder: Path) -> _Recipe:
    """What is read of a run's recipe, of any version."""
    return read_as(_Recipe, folder / "recipe.json", extra=True, needed=False)


def _scores(evaluation: Evaluation) -> list[CardScore]:
    """Its scores with all labels, each with those of the controls."""
    scores = []
    for score in evaluation.model.scores:
        if score.draws:
            continue
        controls: Mapping[str, float] = {
            subject.name: each.value
            for subject in evaluation.subjects[1:]
            for each in subject.scores
            if each.key == score.key
        }
        scores.append(CardScore(evaluation.title, score.key, score.metric, score.value, controls))
    return scores
