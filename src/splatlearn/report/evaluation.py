"""Sections about what probes found in a model's features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from splatlearn.evaluation.results import Evaluation, Score, Subject, read_evaluations
from splatlearn.report.parts.curves import quiet_axes
from splatlearn.report.parts.page import Block, Figure, KeyValues, Section, Table
from splatlearn.report.parts.scores import COLORS, score_plot
from splatlearn.report.parts.style import TEXT, THEME, WIDTH

PROBES = (
    "All on standardised features, with a random-weights encoder and raw pixels as controls: what the model has above "
    "them, training added."
)
DOTS = "All labels, percent. Dotted: the share of the commonest class."
FEW_SHOT = (
    "Few labels: accuracy against the number of labelled images, mean and standard deviation over the same draws for "
    "every model. Dotted: the share of the commonest class."
)
DIAGNOSTICS = (
    "Without labels. Effective rank: how many directions the features use. Alignment: squared distance of two random "
    "crops of a photo, lower is nearer. Uniformity: how evenly photos spread over the sphere, lower is more even."
)
FEW = "few-shot "
"""What the names of few-shot probes begin with."""
MOST_NAMED = 10
"""Unreadable images that are listed by name."""


def evaluation_sections(folder: str | Path) -> list[Section]:
    """Sections about the evaluations in a folder, none where there are none; a file that cannot be read is told of."""
    try:
        return [evaluation_section(each) for each in read_evaluations(folder)]
    except ValueError as error:
        # The report of a long run must not fail over it.
        return [Section("What was learned", str(error))]


def evaluation_section(evaluation: Evaluation) -> Section:
    """A section about one evaluation: scores of the model and its controls, few-shot curves, and diagnostics."""
    metric = evaluation.model.scores[0].metric
    facts = {
        "Data": evaluation.data,
        "Images to learn from, to be judged on": f"{evaluation.train_images:,}, {evaluation.val_images:,}",
        "Validation images": evaluation.split,
        "Classes": len(evaluation.classes),
        "Features": f"{evaluation.features}, {evaluation.model.numbers} numbers",
        "Chance": f"{shown(evaluation.chance)} %",
    }
    blocks: list[Block] = [KeyValues(facts)]
    if (table := score_table(evaluation)).rows:
        if len(evaluation.subjects) > 1:
            blocks.append(Figure(score_plot(evaluation), alt="Scores of the model beside its controls", caption=DOTS))
        blocks.append(table)
    curves = few_shot_curves(evaluation)
    if curves is not None:
        blocks.append(Figure(curves, alt="Accuracy against the number of labelled images", caption=FEW_SHOT))
        blocks += few_shot_tables(evaluation)
    if evaluation.model.diagnostics:
        blocks.append(_diagnostics(evaluation.subjects))
    if evaluation.unreadable:
        blocks.append(KeyValues(_unreadable(evaluation)))
    intro = f"{metric[0].upper()}{metric[1:]} of probes on {evaluation.features}. {PROBES}"
    return Section(f"What was learned: {evaluation.features}", intro, blocks)


def score_table(evaluation: Evaluation) -> Table:
    """Scores with all labels in percent: a row for each probe, a column for the model and for each control."""
    scores = [score for score in evaluation.model.scores if not score.draws]
    has_top5 = any(score.top5 is not None for score in scores)
    columns = ["probe, all labels", *_names(evaluation), *(["model, top 5"] if has_top5 else [])]
    rows: list[list[object]] = []
    for score in scores:
        top5 = [None if score.top5 is None else shown(score.top5)] if has_top5 else []
        rows.append([score.probe, *_cells(evaluation, score), *top5])
    return Table(columns, rows, caption=f"Percent. {_chosen(evaluation)}".strip())


def few_shot_tables(evaluation: Evaluation) -> list[Table]:
    """Scores with few labels in percent, mean ± standard deviation over draws: a table a probe, a row a budget."""
    tables: list[Table] = []
    for probe in dict.fromkeys(score.probe for score in evaluation.model.scores if score.draws):
        scores = [score for score in evaluation.model.scores if score.probe == probe and score.draws]
        rows: list[list[object]] = [[score.budget, *_cells(evaluation, score)] for score in scores]
        draws = max(len(score.draws) for score in scores)
        caption = f"Percent, mean ± standard deviation over {draws} draws, the same for every model."
        tables.append(Table([f"few-shot {probe.removeprefix(FEW)}", *_names(evaluation)], rows, caption=caption))
    return tables


def few_shot_curves(evaluation: Evaluation) -> matplotlib.figure.Figure | None:
    """A panel for each classifier: accuracy against labelled images; None without few-shot scores."""
    probes = list(dict.fromkeys(score.probe for score in evaluation.model.scores if score.draws))
    if not probes:
        return None
    figure = matplotlib.figure.Figure(figsize=(WIDTH, 2.7), layout="constrained")
    panels = figure.subplots(1, len(probes), sharey=True, squeeze=False)[0]
    for axes, probe in zip(panels, probes, strict=True):
        for subject in evaluation.subjects:
            _curve(axes, subject, [score for score in subject.scores if score.probe == probe])
        axes.axhline(100 * evaluation.chance, color=THEME["muted"], linewidth=1.0, linestyle=(0, (1, 2)))
        axes.set_title(probe.removeprefix(FEW), loc="left", fontsize=TEXT, color=THEME["ink"])
        _along_images(axes)
    panels[0].set_ylabel("accuracy, %", color=THEME["muted"], fontsize=TEXT)
    figure.supxlabel("labelled images", color=THEME["muted"], fontsize=TEXT)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=len(names), frameon=False, fontsize=TEXT,
        labelcolor=THEME["muted"],
    )  # fmt: skip
    return figure


def shown(share: float, deviation: float | None = None) -> str:
    """A share in percent with one decimal, with its standard deviation where there is one."""
    return f"{100 * share:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def _names(evaluation: Evaluation) -> list[str]:
    return [subject.name for subject in evaluation.subjects]


def _cells(evaluation: Evaluation, score: Score) -> list[str | None]:
    """A score of the model, and the same of the controls."""
    found = [next((each for each in subject.scores if each.key == score.key), None) for subject in evaluation.subjects]
    return [None if each is None else shown(each.value, each.deviation) for each in found]


def _curve(axes: Axes, subject: Subject, scores: Sequence[Score]) -> None:
    points = [(int(score.settings["images"] or 0), score) for score in scores if score.draws]
    points.sort(key=lambda point: point[0])
    axes.errorbar(
        [images for images, _ in points],
        [100 * score.value for _, score in points],
        [100 * (score.deviation or 0.0) for _, score in points],
        color=COLORS.get(subject.name, THEME["ink"]), label=subject.name, linewidth=1.4, elinewidth=0.9,
        marker="o", markersize=3.5, capsize=2,
    )  # fmt: skip


def _along_images(axes: Axes) -> None:
    axes.set_xscale("log")
    quiet_axes(axes)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _diagnostics(subjects: Sequence[Subject]) -> Table:
    names = list(subjects[0].diagnostics)
    rows = [[subject.name, subject.numbers, *(subject.diagnostics.get(name) for name in names)] for subject in subjects]
    return Table(["features", "numbers", *names], rows, caption=DIAGNOSTICS)


def _chosen(evaluation: Evaluation) -> str:
    """What the probes of the model chose on train."""
    settings = {
        score.key: ", ".join(f"{name} {_plain(value)}" for name, value in score.settings.items())
        for score in evaluation.model.scores
        if score.settings and not score.draws
    }
    return "; ".join(f"{key}: {text}" for key, text in settings.items()) + "." if settings else ""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return re.sub(r"e-0(\d)", r"e-\1", f"{value:.4g}") if isinstance(value, float) else str(value)


def _unreadable(evaluation: Evaluation) -> dict[str, object]:
    named = list(evaluation.unreadable.items())
    facts: dict[str, object] = {"Unreadable images, left out": len(named)}
    facts |= dict(named[:MOST_NAMED])
    return facts
