"""The figure of one photograph by every method that is compared, and the scores of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from splatlearn.evaluation.boundaries.contenders import as_images
from splatlearn.evaluation.saliency.baselines import center_prior, color_mixtures, otsu_figure
from splatlearn.evaluation.saliency.data import Pair, read_figure
from splatlearn.evaluation.saliency.scores import FigureScores, MaskScore, figure_scores, mask_score
from splatlearn.models import GMAE
from splatlearn.runs.processes import bounded_map
from splatlearn.zero_shot import FigureOptions, ReadOptions, figure_ground_of, gaussians_of

Panel = Mapping[str, Float[np.ndarray, "H W"]]
"""Soft masks in [0, 1] by the method's name."""

READ_OUTS = {
    "mixtures": FigureOptions(),
    "mixtures, centre": FigureOptions(center=True),
    "groups": FigureOptions(method="groups"),
    "groups, centre": FigureOptions(method="groups", center=True),
    "order": FigureOptions(method="order"),
    "depth": FigureOptions(method="depth"),
}


@dataclass(frozen=True, eq=False)
class FigureContender:
    """A method, or several that share their work: `panel` of the pixels of a photograph."""

    name: str
    panel: Callable[[UInt8[np.ndarray, "H W 3"]], Panel]


def plain_figures() -> list[FigureContender]:
    """The centre prior, Otsu, and colour mixtures with and without the former."""

    def panel(photo: np.ndarray) -> Panel:
        pixels = photo.astype(np.float32) / 255
        return {
            "centre prior": center_prior(*photo.shape[:2]),
            "Otsu": otsu_figure(pixels),
            "colour mixtures": color_mixtures(pixels),
            "colour mixtures, centre": color_mixtures(pixels, center_prior(*photo.shape[:2])),
        }

    return [FigureContender("without learning", panel)]


def gmae_figures(
    model: GMAE,
    name: str = "GMAE",
    options: ReadOptions | None = None,
    read_outs: Mapping[str, FigureOptions] = READ_OUTS,
) -> FigureContender:
    """Read-outs of one GMAE's Gaussians, which are predicted once for all."""

    def panel(photo: np.ndarray) -> Panel:
        read = gaussians_of(model, as_images(photo, model), options)
        return {f"{name}, {each}": figure_ground_of(read, how)[0].cpu().numpy() for each, how in read_outs.items()}

    return FigureContender(name, panel)


def score_figures(
    contenders: Sequence[FigureContender],
    pairs: Sequence[Pair],
    processes: int = 1,
    told: Callable[[int], None] | None = None,
) -> dict[str, FigureScores]:
    """Score every method on photographs with masks, by the methods' names.

    - `processes`: that score, beside this one, which runs the methods.
    - `told`: called with the number of photographs done.

    Raises DataError and UnreadableImage as `read_figure` does.
    """
    scores: dict[str, list[MaskScore]] = {}
    for name, score in bounded_map(_score, _jobs(contenders, pairs), processes):
        scores.setdefault(name, []).append(score)
        if told is not None:
            told(len(scores[name]))
    return {name: figure_scores(each) for name, each in scores.items()}


def _jobs(
    contenders: Sequence[FigureContender], pairs: Sequence[Pair]
) -> Iterable[tuple[str, Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]]:
    for pair in pairs:
        photo, truth = read_figure(pair)
        for contender in contenders:
            for name, soft in contender.panel(photo).items():
                yield name, soft, truth


def _score(job: tuple[str, np.ndarray, np.ndarray]) -> tuple[str, MaskScore]:
    name, soft, truth = job
    return name, mask_score(soft, truth)
