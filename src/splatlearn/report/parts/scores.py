"""Scores as dots on a line: the model beside what it is compared with."""

from __future__ import annotations

import matplotlib.figure
from matplotlib.ticker import MaxNLocator

from splatlearn.evaluation.results import Evaluation
from splatlearn.report.parts.style import TEXT, THEME, WIDTH

COLORS = {"model": THEME["accent"], "random weights": THEME["second"], "raw pixels": THEME["muted"]}
"""Colours of the kinds of features."""


def score_plot(evaluation: Evaluation) -> matplotlib.figure.Figure:
    """A row for each probe on all labels: a dot for the model and for each control, in percent."""
    keys = [score.key for score in evaluation.model.scores if not score.draws]
    figure = matplotlib.figure.Figure(figsize=(WIDTH, 0.95 + 0.34 * len(keys)), layout="constrained")
    axes = figure.add_subplot()
    for subject in reversed(evaluation.subjects):
        found = {score.key: 100 * score.value for score in subject.scores if score.key in keys}
        axes.plot(
            list(found.values()), [keys.index(key) for key in found], "o", label=subject.name,
            color=COLORS.get(subject.name, THEME["ink"]), markersize=6.5 if subject is evaluation.model else 5,
        )  # fmt: skip
    axes.axvline(100 * evaluation.chance, color=THEME["muted"], linewidth=1.0, linestyle=(0, (1, 2)))
    axes.set_yticks(range(len(keys)), keys)
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.grid(axis="both", color=THEME["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=THEME["muted"])
    axes.xaxis.set_major_locator(MaxNLocator(6))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside upper left", ncols=len(labels), frameon=False, fontsize=TEXT,
        labelcolor=THEME["muted"], handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip
    return figure
