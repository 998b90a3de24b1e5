"""The whole evaluation: what it finds in a planted set, and that it finds the same twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from evaluation.planted import coloured, coloured_sets, planted
from models.small_models import small_gmae, small_mae
from splatlearn.data.labelled import labelled_parts
from splatlearn.evaluation import EvaluationOptions, Extraction, evaluate, read_evaluations, save_evaluation
from splatlearn.evaluation.probes.probes import accuracy, probe_scores
from splatlearn.models import save_model

QUICK = EvaluationOptions(shots=(1, 2), shares=(0.5,), draws=2)


def test_colours_are_found_in_pixels_and_all_subjects_get_the_same_probes():
    evaluation = evaluate(small_gmae(), coloured_sets(), QUICK)
    assert [subject.name for subject in evaluation.subjects] == ["model", "random weights", "raw pixels"]
    keys = [[score.key for score in subject.scores] for subject in evaluation.subjects]
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]) == 4 + 3 * 3 and keys[0][:4] == [
        "knn", "linear", "naive Bayes, diagonal", "naive Bayes, shared",
    ]  # fmt: skip
    assert "few-shot naive Bayes, shared, 2 per class" in keys[0] and "few-shot linear, 50%" in keys[0]
    pixels = {score.key: score for score in evaluation.subjects[2].scores}
    assert pixels["knn"].value == pixels["linear"].value == 1.0
    few = pixels["few-shot naive Bayes, diagonal, 2 per class"]
    assert few.value == pytest.approx(sum(few.draws) / 2) and len(few.draws) == 2 and few.settings == {"images": 6}
    assert evaluation.chance == pytest.approx(1 / 3) and evaluation.classes == ("red", "green", "blue")
    assert [subject.numbers for subject in evaluation.subjects] == [24, 24, 3 * 16 * 16]
    for subject in evaluation.subjects:
        assert 1 < subject.diagnostics["effective rank"] <= 15
        assert 0 < subject.diagnostics["alignment"] < 4 and -4 <= subject.diagnostics["uniformity"] < 0


def test_diagnostics_can_be_left_out():
    evaluation = evaluate(small_mae(), coloured_sets(), dataclasses.replace(QUICK, probes=("knn",), diagnostics=False))
    assert [subject.diagnostics for subject in evaluation.subjects] == [{}, {}, {}]
    assert all(subject.scores for subject in evaluation.subjects)


def test_an_evaluation_is_the_same_twice_bit_for_bit(tmp_path: Path):
    options = dataclasses.replace(QUICK, shots=(2,), shares=())
    files = []
    for name, cache in (("a", None), ("b", None), ("c", tmp_path / "kept"), ("d", tmp_path / "kept")):
        torch.manual_seed(len(files))
        evaluation = evaluate(small_mae(), coloured_sets(), options, cache=cache)
        files.append(save_evaluation(tmp_path / name, evaluation).read_bytes())
    assert files[0] == files[1] == files[2] == files[3]


def test_models_are_loaded_from_folders_and_left_as_they_were(tmp_path: Path):
    model = small_mae().train()
    save_model(model, tmp_path / "model")
    options = dataclasses.replace(QUICK, probes=("knn",), controls=False)
    assert evaluate(model, coloured_sets(), options) == evaluate(str(tmp_path / "model"), coloured_sets(), options)
    assert model.training and model.encoder.training


def test_few_shot_images_are_the_same_for_every_model(monkeypatch: pytest.MonkeyPatch):
    from splatlearn.evaluation.probes import probes

    drawn: list[list[int]] = []

    def remember(*arguments):
        drawn.append(few_shot_draw(*arguments).tolist())
        return torch.tensor(drawn[-1])

    few_shot_draw = probes.few_shot_draw
    monkeypatch.setattr(probes, "few_shot_draw", remember)
    options = dataclasses.replace(QUICK, probes=("few-shot",), controls=False)
    for model in (small_mae(0), small_gmae(1)):
        torch.manual_seed(len(drawn))
        evaluate(model, coloured_sets(), options)
    assert len(drawn) == 12 and drawn[:6] == drawn[6:]


def test_default_shots_are_those_that_are_possible_and_others_are_an_error():
    options = EvaluationOptions(probes=("few-shot",), controls=False, draws=1)
    scores = evaluate(small_mae(), coloured_sets(), options).model.scores
    assert {score.budget for score in scores} == {"1 per class (1%, 10%)", "5 per class", "10 per class"}
    few = evaluate(small_mae(), coloured_sets(train=18), options).model.scores
    assert {score.budget for score in few} == {"1 per class (1%, 10%)", "5 per class"}
    with pytest.raises(ValueError, match="shots: expected at most .*, got 10 of each class, but 'red' has 6"):
        evaluate(small_mae(), coloured_sets(train=18), dataclasses.replace(options, shots=(10,)))


def test_pooling_and_block_are_passed_on():
    options = dataclasses.replace(QUICK, probes=("knn",), controls=False)
    plain, token, first = (
        evaluate(small_mae(), coloured_sets(), dataclasses.replace(options, **change))
        for change in ({}, {"pooling": "cls"}, {"block": 1})
    )
    assert [each.features for each in (plain, token, first)] == [
        "mean of patch tokens", "class token", "mean of patch tokens, block 1",
    ]  # fmt: skip
    ranks = [each.model.diagnostics["effective rank"] for each in (plain, token, first)]
    assert len(set(ranks)) == 3
    with pytest.raises(ValueError, match="block: expected a number from 1 to 2"):
        evaluate(small_mae(), coloured_sets(), dataclasses.replace(options, block=3))


def test_linear_probe_by_size_or_by_name(monkeypatch: pytest.MonkeyPatch):
    from splatlearn.evaluation.probes import probes

    def settings(linear):
        options = EvaluationOptions(probes=("linear",), linear=linear)
        return probe_scores(planted().standardized(), options)[0].settings["by"]

    assert [settings(linear) for linear in ("auto", "logistic", "lars")] == ["logistic", "logistic", "lars"]
    monkeypatch.setattr(probes, "LOGISTIC_UP_TO", 100)
    assert settings("auto") == "lars" and settings("logistic") == "logistic"


def test_top5_counts_the_five_likeliest():
    features = planted(train=140, val=70, numbers=14, signal=3.0, classes=7)
    scores = torch.zeros(70, 7)
    scores[:, 2] = 1.0
    scores[torch.arange(70), features.val_labels] += torch.where(torch.arange(70) < 35, 0.5, -1.0)
    assert accuracy(scores, features, 1) == pytest.approx(5 / 70)
    assert accuracy(scores, features, 5) >= 0.5
    score = probe_scores(features.standardized(), EvaluationOptions(probes=("knn",)))[0]
    assert score.top5 is not None and score.value <= score.top5 <= 1
    assert probe_scores(planted().standardized(), EvaluationOptions(probes=("knn",)))[0].top5 is None


def test_wrong_options_are_named(no_shape_checks):
    with pytest.raises(ValueError, match="probes: expected some of knn, linear, naive-bayes, few-shot, got 'svm'"):
        EvaluationOptions(probes=("svm",))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="probes: expected at least one"):
        EvaluationOptions(probes=())
    with pytest.raises(ValueError, match="draws: expected a positive number, got 0"):
        EvaluationOptions(draws=0)


class TestFile:
    def test_what_is_written_is_read_and_others_stay(self, tmp_path: Path):
        options = dataclasses.replace(QUICK, probes=("knn", "few-shot"), controls=False, pooling="cls")
        first = evaluate(small_mae(), coloured_sets(), options)
        second = evaluate(small_mae(), coloured_sets(), dataclasses.replace(options, pooling="mean"))
        save_evaluation(tmp_path, first)
        save_evaluation(tmp_path, second)
        assert read_evaluations(tmp_path) == [first, second]
        replaced = evaluate(small_mae(seed=1), coloured_sets(), options)
        save_evaluation(tmp_path, replaced)
        assert read_evaluations(tmp_path) == [replaced, second]
        assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]

    def test_unreadable_images_are_told(self, tmp_path: Path):
        class Broken:
            description, class_names = "broken", None
            labels = [0, 1, 0, 1, 0, 1]

            def __len__(self):
                return 6

            def __getitem__(self, index: int, /):
                from splatlearn.images import UnreadableImage

                if index == 2:
                    raise UnreadableImage("third", "it is torn")
                return coloured(6)[index]

        data = labelled_parts(Broken(), Broken())
        options = EvaluationOptions(probes=("knn",), controls=False)
        evaluation = evaluate(small_mae(), data, options, Extraction(max_unreadable=0.5))
        assert evaluation.unreadable == {"third": "it is torn"}

    @pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "evaluations": [{}]}'])
    def test_a_torn_file_is_named_and_kept(self, tmp_path: Path, text: str):
        (tmp_path / "evaluation.json").write_text(text)
        with pytest.raises(ValueError, match="evaluation.json: expected a file of `splatlearn evaluate`, got one"):
            read_evaluations(tmp_path)
        assert (tmp_path / "evaluation.json").read_text() == text

    def test_another_version_and_no_file(self, tmp_path: Path):
        assert read_evaluations(tmp_path) == []
        (tmp_path / "evaluation.json").write_text(json.dumps({"schema_version": 9}))
        with pytest.raises(ValueError, match="expected schema_version 1, got 9; update splatlearn to read it"):
            read_evaluations(tmp_path)
