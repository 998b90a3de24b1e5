"""Sections about evaluations and comparisons: what they say, and that odd ones do not break the page."""

from __future__ import annotations

import dataclasses

import matplotlib.figure
import numpy as np
import pytest

from report.test_page import NASTY, Outline
from splatlearn.evaluation import Evaluation, Score, Subject, save_evaluation
from splatlearn.evaluation.comparison import Run, compare_runs
from splatlearn.report import Figure, KeyValues, Table, write_run_report
from splatlearn.report.evaluation import (
    evaluation_section,
    evaluation_sections,
    few_shot_curves,
    few_shot_tables,
    score_table,
)
from splatlearn.report.evaluation_comparison import cells, columns, difference_plot, write_comparison
from splatlearn.report.parts.scores import score_plot


def subject(name: str, shift: float = 0.0) -> Subject:
    few = [
        Score("few-shot linear", 0.4 + shift, f"{shots} per class", deviation=0.02, draws=(0.38, 0.42),
              settings={"images": 10 * shots})
        for shots in (1, 5, 10)
    ]  # fmt: skip
    scores = (Score("knn", 0.5 + shift, top5=0.9), Score("linear", 0.6 + shift, settings={"C": 0.001}), *few)
    return Subject(name, 192, scores, {"effective rank": 12.5, "alignment": 0.8, "uniformity": -3.1})


def evaluation(**changes) -> Evaluation:
    subjects = (subject("model"), subject("random weights", -0.1), subject("raw pixels", -0.2))
    plain = Evaluation(
        "photos", "split val", "hash", tuple("abcdefghij"), 4000, 1000, "class token", "weights", 0.1, 0, subjects
    )
    return dataclasses.replace(plain, **changes)


def test_the_section_tells_scores_of_model_and_controls():
    section = evaluation_section(evaluation())
    whole, few, diagnosed = (block for block in section.blocks if isinstance(block, Table))
    assert list(whole.columns) == ["probe, all labels", "model", "random weights", "raw pixels", "model, top 5"]
    assert list(whole.rows[0]) == ["knn", "50.0", "40.0", "30.0", "90.0"]
    assert list(whole.rows[1]) == ["linear", "60.0", "50.0", "40.0", None]
    assert whole.caption == "Percent. linear: C 0.001."
    assert list(few.columns) == ["few-shot linear", "model", "random weights", "raw pixels"]
    assert list(few.rows[0]) == ["1 per class", "40.0 ± 2.0", "30.0 ± 2.0", "20.0 ± 2.0"]
    assert "over 2 draws" in few.caption
    assert list(diagnosed.rows[0]) == ["model", 192, 12.5, 0.8, -3.1]
    facts = next(block.values for block in section.blocks if isinstance(block, KeyValues))
    assert facts["Chance"] == "10.0 %" and facts["Images to learn from, to be judged on"] == "4,000, 1,000"


def test_curves_have_a_panel_for_each_classifier():
    figure = few_shot_curves(evaluation())
    assert isinstance(figure, matplotlib.figure.Figure) and len(figure.axes) == 1
    assert figure.axes[0].get_legend_handles_labels()[1] == ["model", "random weights", "raw pixels"]
    plain = Subject("model", 8, (Score("knn", 0.5),))
    alone = evaluation(subjects=(plain,))
    assert few_shot_curves(alone) is None
    assert not any(isinstance(block, Figure) for block in evaluation_section(alone).blocks)
    assert list(score_table(alone).columns) == ["probe, all labels", "model"]
    assert few_shot_tables(alone) == []


def test_the_report_of_a_run_shows_its_evaluations(tmp_path):
    save_evaluation(tmp_path, evaluation(data=NASTY, unreadable={NASTY: "torn"}))
    save_evaluation(tmp_path, evaluation(data="others", contents="others", features="mean of patch tokens"))
    page = Outline(write_run_report(tmp_path).read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert "What was learned: class token" in text and "What was learned: mean of patch tokens" in text
    assert NASTY in text and page.tags.count("svg") == 4 and "script" not in page.tags


def test_a_broken_file_does_not_break_the_report(tmp_path):
    (tmp_path / "evaluation.json").write_text("{")
    assert "cannot be read" in evaluation_sections(tmp_path)[0].intro
    assert "cannot be read" in write_run_report(tmp_path).read_text(encoding="utf-8")
    assert evaluation_sections(tmp_path / "nowhere") == []


def runs(tmp_path, arms: int = 2, seeds: int = 3) -> list[Run]:
    return [
        Run(
            tmp_path / f"{arm}{seed}", {"method": f"m{arm}"}, seed,
            (evaluation(subjects=(subject("model", 0.1 * arm + 0.001 * seed * (1 + arm)),)),),
        )
        for arm in range(arms) for seed in range(seeds)
    ]  # fmt: skip


def test_a_comparison_tells_means_differences_and_verdicts(tmp_path):
    (comparison,) = compare_runs(runs(tmp_path))
    assert columns(comparison) == ["probe", "m0", "m1", "m1 − m0", "verdict"]
    # Differences of 10.0, 10.1 and 10.2 points: t(0.975, 2) · 0.1 / √3 = 0.248.
    assert cells(comparison.rows[0]) == ["knn", "50.1 ± 0.1", "60.2 ± 0.2", "+10.1 ± 0.2", "higher"]
    (alone,) = compare_runs(runs(tmp_path, seeds=1))
    assert cells(alone.rows[0]) == ["knn", "50.0", "60.0", "+10.0", "one pair cannot tell"]


@pytest.mark.parametrize(("arms", "seeds"), [(1, 2), (2, 1), (2, 3), (4, 2)])
def test_a_page_of_any_number_of_arms(tmp_path, arms, seeds):
    chosen = runs(tmp_path, arms, seeds)
    comparisons = compare_runs(chosen)
    page = Outline(write_comparison(tmp_path / "c.html", comparisons, chosen).read_text(encoding="utf-8"))
    assert page.tags.count("svg") == (arms > 1)
    assert str(tmp_path / "00") in "".join(page.text)


def test_rows_without_a_common_seed_are_not_drawn(tmp_path):
    chosen = runs(tmp_path, seeds=1)
    chosen[1] = dataclasses.replace(chosen[1], seed=7)
    (comparison,) = compare_runs(chosen)
    assert cells(comparison.rows[0])[3:] == ["–", "no seed in common"]
    assert len(difference_plot(comparison).axes[0].lines) == 1  # the line at 0


def test_budgets_of_as_many_images_are_drawn_both():
    few = tuple(
        Score("few-shot linear", value, budget, deviation=0.0, draws=(value,), settings={"images": 10})
        for value, budget in ((0.4, "1 per class"), (0.5, "10%"))
    )
    figure = few_shot_curves(evaluation(subjects=(Subject("model", 8, (Score("knn", 0.5), *few)),)))
    assert figure is not None
    assert list(np.asarray(figure.axes[0].lines[0].get_xydata())[:, 1]) == [40.0, 50.0]


def test_dots_stand_where_the_scores_are():
    figure = score_plot(evaluation())
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["knn", "linear"]
    dots = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines if line.get_marker() == "o"}
    assert set(dots) == {"model", "random weights", "raw pixels"}
    assert dots["model"][:, 0] == pytest.approx([50.0, 60.0]) and list(dots["model"][:, 1]) == [0.0, 1.0]
    assert dots["raw pixels"][:, 0] == pytest.approx([30.0, 40.0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "random weights", "raw pixels"]
