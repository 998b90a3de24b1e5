"""What a run's folder says for a model card, and what of it is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from report.test_evaluation_report import evaluation
from splatlearn.evaluation import save_evaluation
from splatlearn.models.folders.card import CardFacts
from splatlearn.report.parts.figures import zero_shot_strip
from splatlearn.report.run_facts import hidden_share, predicted_target, run_facts, run_folder_of


def birds(folder: Path) -> Path:
    here = folder / "birds"
    (here / "checkpoints" / "step-00000020").mkdir(parents=True)
    recipe = {"data": {"data": "photos"}, "objective": {"mask_ratio": 0.6, "normalize_targets": False}}
    (here / "recipe.json").write_text(json.dumps({**recipe, "run": {"out": "somewhere/birds", "seed": 3}}))
    return here


def test_scores_come_with_those_of_the_controls(tmp_path: Path) -> None:
    here = birds(tmp_path)
    save_evaluation(here, evaluation())
    facts = run_facts(here / "checkpoints" / "step-00000020", "mit")
    assert (facts.name, facts.data, facts.license, facts.steps) == ("birds", "photos", "mit", None)
    assert "run.out" not in facts.recipe and facts.recipe["run.seed"] == 3
    assert [(score.probe, score.value) for score in facts.scores] == [("knn", 0.5), ("linear", 0.6)]
    assert facts.scores[0].data == "photos, class token" and facts.scores[0].metric == "accuracy"
    assert facts.scores[1].controls == pytest.approx({"random weights": 0.5, "raw pixels": 0.4})


def test_a_curve_is_means_of_equal_parts(tmp_path: Path) -> None:
    here = birds(tmp_path)
    entries: list[dict] = [{"step": step, "loss": 100.0 - step} for step in range(1, 25)]
    entries[3]["loss"] = None
    (here / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    facts = run_facts(here)
    assert (facts.steps, facts.loss) == (24, 76.0)
    # A skipped step has no loss: 23 losses make 12 points.
    assert len(facts.curve) == 12 and facts.curve[0] == (2, 98.5) and facts.curve[-1] == (24, 76.5)
    (here / "log.jsonl").write_text(json.dumps(entries[0]) + "\n")
    assert run_facts(here).curve == ((1, 99.0),)


def test_a_folder_that_is_no_run_says_nothing(tmp_path: Path) -> None:
    assert run_facts(tmp_path) == CardFacts() and predicted_target(tmp_path) is None and hidden_share(tmp_path) == 0.75
    assert run_folder_of("someone/birds") == Path("someone/birds")


def test_what_a_mae_predicts_is_in_the_recipe(tmp_path: Path) -> None:
    here = birds(tmp_path)
    assert predicted_target(here) == "colors" and hidden_share(here / "checkpoints" / "step-00000020") == 0.6
    (here / "recipe.json").write_text(json.dumps({"objective": {"normalize_targets": True}}))
    assert predicted_target(here) == "patches"
    for text, message in [("{", "recipe.json: expected JSON"), ("[]", "recipe.json: expected an object, got list")]:
        (here / "recipe.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            run_facts(here)


def test_a_strip_has_a_column_for_each_reading(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 12, generator=generator)
    soft, slabs = torch.rand(2, 8, 12, generator=generator), [torch.rand(2, 4, 8, 12, generator=generator)] * 3
    figure = zero_shot_strip(images, soft, soft, slabs, ["a", "b"])
    assert len(figure.axes) == 2 * 6
    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == ["photo", "figure", "edges", "layer 1"]
    # The ground is transparent and edges are dark.
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    factor = shown[0].shape[0] // 8
    torch.testing.assert_close(torch.from_numpy(shown[1][::factor, ::factor, 3].copy()), soft[0])
    torch.testing.assert_close(torch.from_numpy(shown[2][::factor, ::factor, 0].copy()), 1 - soft[0])
    for wrong, message in [
        ((images, soft[:, :4], soft, slabs, ["a", "b"]), "figure: expected shape"),
        ((images, soft, soft[:1], slabs, ["a", "b"]), "edges: expected shape"),
        ((images, soft, soft, [images], ["a", "b"]), "layers: expected shape"),
        ((images, soft, soft, slabs, ["a"]), "names: expected shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            zero_shot_strip(*wrong)
