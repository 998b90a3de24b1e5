"""Scores of single photographs on disk: a long comparison goes on where it was, and several processes share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from splatlearn.core.disk.atomic import replacing
from splatlearn.evaluation.boundaries.contenders import EdgeContender
from splatlearn.evaluation.boundaries.data import AnnotatedImage, read_boundaries
from splatlearn.evaluation.boundaries.scores import BoundaryCounts, boundary_counts, boundary_scores, thresholds
from splatlearn.evaluation.saliency.contenders import FigureContender
from splatlearn.evaluation.saliency.data import Pair, read_figure
from splatlearn.evaluation.saliency.scores import MaskScore, figure_scores, mask_score
from splatlearn.images import decode

Score = TypeVar("Score", BoundaryCounts, MaskScore)
Rows = Mapping[str, Mapping[str, float]]


def edge_rows(
    contenders: Callable[[], list[EdgeContender]],
    images: Sequence[AnnotatedImage],
    levels: int,
    folder: Path,
    part: tuple[int, int],
) -> Rows | None:
    """Every method's scores of edges; None as long as another process's part of the photographs is missing.

    - `contenders`: makes the methods, if there is anything left to do.
    - `folder`: of one file for each photograph.
    - `part`: (i, n) takes every n-th photograph from the i-th.
    """
    at, made = thresholds(levels), _Once(contenders)

    def count(image: AnnotatedImage) -> dict[str, BoundaryCounts]:
        annotations = read_boundaries(image.annotations)
        photo = np.asarray(decode(image.image, str(image.image)))
        return {name: boundary_counts(edges, annotations, at) for name, edges in made.panel(photo).items()}

    counts = _all({image.name: lambda image=image: count(image) for image in images}, folder, part, BoundaryCounts)
    return None if counts is None else {name: boundary_scores(each, at).summary() for name, each in counts.items()}


def figure_rows(
    contenders: Callable[[], list[FigureContender]], pairs: Sequence[Pair], folder: Path, part: tuple[int, int]
) -> Rows | None:
    """Every method's scores of figures, as `edge_rows`."""
    made = _Once(contenders)

    def score(pair: Pair) -> dict[str, MaskScore]:
        photo, truth = read_figure(pair)
        return {name: mask_score(soft, truth) for name, soft in made.panel(photo).items()}

    scores = _all({pair[0].stem: lambda pair=pair: score(pair) for pair in pairs}, folder, part, MaskScore)
    return None if scores is None else {name: figure_scores(each).summary() for name, each in scores.items()}


class _Once:
    """Methods that are made when the first photograph is shown to them."""

    def __init__(self, contenders: Callable[[], Sequence[EdgeContender | FigureContender]]) -> None:
        self.contenders = contenders
        self.found: Sequence[EdgeContender | FigureContender] = ()

    def panel(self, photo: np.ndarray) -> dict[str, Float[np.ndarray, "H W"]]:
        self.found = self.found or self.contenders()
        return {name: values for each in self.found for name, values in each.panel(photo).items()}


def _all(
    jobs: Mapping[str, Callable[[], Mapping[str, Score]]], folder: Path, part: tuple[int, int], kind: type[Score]
) -> dict[str, list[Score]] | None:
    """Do what is not done of a part, and read what is; None unless that is everything."""
    first, step = part
    for name in list(jobs)[first::step]:
        if not (folder / f"{name}.npz").is_file():
            _write(folder / f"{name}.npz", jobs[name]())
    if any(not (folder / f"{name}.npz").is_file() for name in jobs):
        return None
    found: dict[str, list[Score]] = {}
    for name in jobs:
        for method, score in _read(folder / f"{name}.npz", kind).items():
            found.setdefault(method, []).append(score)
    return found


def _write(path: Path, scores: Mapping[str, BoundaryCounts | MaskScore]) -> None:
    values = {f"{name}/{key}": value for name, score in scores.items() for key, value in vars(score).items()}
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **values)


def _read(path: Path, kind: type[Score]) -> dict[str, Score]:
    names = [field.name for field in fields(kind)]
    with np.load(path, allow_pickle=False) as stored:
        methods = list(dict.fromkeys(key.rpartition("/")[0] for key in stored.files))
        return {each: kind(*(_value(stored[f"{each}/{name}"]) for name in names)) for each in methods}


def _value(stored: np.ndarray) -> Any:
    """Numbers are stored as arrays without a dimension."""
    return stored if stored.ndim else stored.item()
