"""Runs side by side: pairs by seed, and intervals against SciPy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from splatlearn.evaluation import Evaluation, Score, Subject, compare_runs, read_run, save_evaluation
from splatlearn.evaluation.comparison import paired_difference


def evaluation(knn: float, data: str = "birds", features: str = "class token", **scores: float) -> Evaluation:
    subject = Subject("model", 8, (Score("knn", knn), *(Score(name, value) for name, value in scores.items())))
    return Evaluation(data, "split val", f"hash of {data}", ("a", "b"), 10, 5, features, "w", 0.5, 0, (subject,))


def run(folder: Path, method: str, seed: int, *evaluations: Evaluation, epochs: int = 3):
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"method": method, "optimizer": {"epochs": epochs}, "run": {"seed": seed, "out": str(folder)}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    for each in evaluations:
        save_evaluation(folder, each)
    return read_run(folder)


def test_interval_is_that_of_scipy():
    found = paired_difference({0: 0.5, 1: 0.6, 2: 0.55, 9: 0.1}, {2: 0.61, 0: 0.53, 1: 0.64, 7: 0.9})
    oracle = stats.ttest_rel([0.53, 0.64, 0.61], [0.5, 0.6, 0.55]).confidence_interval(0.95)
    assert found.pairs == 3
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.mean == pytest.approx(0.13 / 3) and found.deviation == pytest.approx(0.015275, rel=1e-3)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ({0: 0.60, 1: 0.61, 2: 0.62}, "higher"),
        ({0: 0.40, 1: 0.41, 2: 0.42}, "lower"),
        ({0: 0.60, 1: 0.41, 2: 0.55}, "within the noise"),
        ({0: 0.9}, "one pair cannot tell"),
        ({7: 0.9}, "no seed in common"),
    ],
)
def test_verdicts(other: dict, verdict: str):
    assert paired_difference({0: 0.5, 1: 0.5, 2: 0.5}, other).verdict == verdict


def test_equal_differences_exceed_any_noise():
    assert paired_difference({0: 0.5, 1: 0.25}, {0: 0.75, 1: 0.5}).exceeds_noise is True
    assert paired_difference({0: 0.5, 1: 0.25}, {0: 0.5, 1: 0.25}).exceeds_noise is False


def test_runs_are_sorted_into_arms_and_paired(tmp_path: Path):
    runs = [
        run(tmp_path / "m0", "mae", 0, evaluation(0.50, linear=0.1)),
        run(tmp_path / "g1", "gmae", 1, evaluation(0.62)),
        run(tmp_path / "m1", "mae", 1, evaluation(0.52, linear=0.1)),
        run(tmp_path / "g0", "gmae", 0, evaluation(0.61)),
    ]
    (comparison,) = compare_runs(runs)
    assert comparison.arms == ("mae", "gmae") and comparison.title == "birds, class token"
    (row,) = comparison.rows  # only what all runs were scored on
    assert row.key == "knn" and row.values == ({0: 0.50, 1: 0.52}, {1: 0.62, 0: 0.61})
    assert row.differences[0].mean == pytest.approx(0.105)


def test_arms_are_named_by_what_sets_them_apart(tmp_path: Path):
    runs = [
        run(tmp_path / name, method, 0, evaluation(0.5), epochs=epochs)
        for name, method, epochs in (("a", "mae", 3), ("b", "gmae", 3), ("c", "gmae", 9))
    ]
    assert compare_runs(runs)[0].arms == (
        "mae, optimizer.epochs 3", "gmae, optimizer.epochs 3", "gmae, optimizer.epochs 9",
    )  # fmt: skip
    assert compare_runs(runs[:1])[0].arms == ("all runs",)


def test_folders_without_recipe_are_arms_of_their_own(tmp_path: Path):
    for name, knn in (("old", 0.4), ("new", 0.5)):
        save_evaluation(tmp_path / name, evaluation(knn))
    (comparison,) = compare_runs([read_run(tmp_path / "old"), read_run(tmp_path / "new")])
    assert comparison.arms == ("old", "new")
    assert comparison.rows[0].differences[0].verdict == "one pair cannot tell"


def test_only_what_all_were_evaluated_on_is_compared(tmp_path: Path):
    both = [evaluation(0.5), evaluation(0.7, "dogs"), evaluation(0.3, features="mean")]
    runs = [run(tmp_path / "a", "mae", 0, *both), run(tmp_path / "b", "gmae", 0, *both[:2])]
    assert sorted(each.title for each in compare_runs(runs)) == ["birds, class token", "dogs, class token"]
    other = run(tmp_path / "c", "gmae", 1, evaluation(0.5, "cats"))
    with pytest.raises(ValueError, match="runs: expected runs evaluated on the same images .* on cats"):
        compare_runs([runs[0], other])


def test_wrong_runs_are_named(tmp_path: Path):
    runs = [run(tmp_path / name, "mae", 3, evaluation(0.5)) for name in ("a", "b")]
    with pytest.raises(ValueError, match="runs: expected one run for each recipe and seed, got .*a and .*b, both of"):
        compare_runs(runs)
    with pytest.raises(FileNotFoundError, match="expected a run with evaluation.json, found none; make it with `splat"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "a" / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match="recipe.json: expected the recipe of a run with its run.seed, got None"):
        read_run(tmp_path / "a")


def test_missing_pairs_are_no_number():
    assert math.isnan(paired_difference({0: 0.5}, {1: 0.5}).mean)
