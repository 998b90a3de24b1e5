"""Files of runs that somebody has meddled with: one kind of error, the file named, whoever reads them."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from odd_json import ODD_TEXTS, meddled
from splatlearn.core.errors import SplatlearnError
from splatlearn.evaluation.comparison import read_run
from splatlearn.evaluation.results import Evaluation, Score, Subject, read_evaluations, save_evaluation
from splatlearn.report.run_facts import hidden_share, predicted_target, run_facts
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training import DataOptions, FinetuneRecipe, Recipe, RunOptions
from splatlearn.training.finetuning.recipe import LabelledOptions
from splatlearn.training.loop.checkpoint import Progress, read_progress, write_progress
from splatlearn.training.loop.state import restore_optimizer
from splatlearn.training.replay import _description

RECIPE = Recipe(method="mi-gmae", data=DataOptions(data="photos"), run=RunOptions(out="run")).resolved()
FINETUNE = FinetuneRecipe(model="m", data=LabelledOptions(data="photos"), run=RunOptions(out="run")).resolved(12)
SCORES = (Score("knn", 0.5, top5=0.75, settings={"k": 20, "on": True}), Score("few-shot", 0.25, draws=(0.25, 0.5)))
EVALUATION = Evaluation(
    "photos", "a fifth", "0f", ("a", "b"), 8, 2, "class token", "1f", 0.5, 0,
    (Subject("model", 24, SCORES, {"rank": 3.5}),), {"x.jpg": "truncated"},
)  # fmt: skip
STEP = {
    "schema": 1, "splatlearn": "0.1.0", "kind": "Recipe", "step": 43, "done": 0.5, "epoch": 1, "place": 3, "passes": 2,
    "processes": 1, "precision": "fp32", "device": "cpu", "batch": "Batch",
    "measured": {"loss": "nan", "grad_norm": 1.5},
}  # fmt: skip
STATE = {
    "schema": 2, "splatlearn": "0.1.0", **asdict(Progress(3, {"a.jpg": "truncated"}, 8, 8)), "files": {"a": "0f"},
}  # fmt: skip
OLD_STATE = {"schema": 1, "step": 3, "unreadable": {}, "samples": 24}


def facts(folder: Path) -> tuple[object, ...]:
    """What reports read of a run: facts, the share of hidden patches, and the targets."""
    return run_facts(folder), hidden_share(folder), predicted_target(folder)


READERS: dict[str, tuple[str, Any, Callable[[Path], object]]] = {
    "recipe": ("recipe.json", json.loads(RECIPE.to_json()), lambda folder: Recipe.read(folder / "recipe.json")),
    "finetune": ("recipe.json", json.loads(FINETUNE.to_json()), lambda at: FinetuneRecipe.read(at / "recipe.json")),
    "state": ("training.json", STATE, read_progress),
    "old state": ("training.json", OLD_STATE, read_progress),
    "step": ("step.json", STEP, _description),
    "evaluation": (
        "evaluation.json",
        {"schema_version": 1, "evaluations": [json.loads(json.dumps(asdict(EVALUATION)))]},
        read_evaluations,
    ),
    "facts": ("recipe.json", json.loads(RECIPE.to_json()), facts),
    "environment": ("environment.json", {"command": "splatlearn", "versions": {"torch": "2"}}, facts),
}
"""By name: the file, valid values of it, and what reads the folder it lies in."""


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    file, valid, read = READERS[name]
    (tmp_path / file).write_text(json.dumps(valid))
    assert read(tmp_path) is not None


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(FINETUNE.to_json())
    assert FinetuneRecipe.read(tmp_path / "recipe.json") == FINETUNE
    save_evaluation(tmp_path, EVALUATION)
    assert read_evaluations(tmp_path) == [EVALUATION]
    progress = Progress(3, {"a.jpg": "truncated"}, 8, 8)
    write_progress(tmp_path, progress, {"a": "0f"})
    assert read_progress(tmp_path) == (progress, {"a": "0f"})


@pytest.mark.parametrize("name", sorted(set(READERS) - {"facts", "environment"}))
@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_files_that_say_nothing(text: str, name: str, tmp_path: Path) -> None:
    file, _, read = READERS[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(SplatlearnError, match=str(tmp_path)):
        read(tmp_path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_meddled_files_are_refused_or_read(data: st.DataObject, tmp_path: Path) -> None:
    file, valid, read = READERS[data.draw(st.sampled_from(sorted(READERS)))]
    (tmp_path / file).write_text(data.draw(meddled(valid)))
    try:
        read(tmp_path)
    except SplatlearnError as error:
        assert str(tmp_path) in str(error) and len(str(error)) < 3000
    finally:
        (tmp_path / file).unlink()


@pytest.mark.parametrize("text", ["[]", "{", "3", '{"run": []}', '{"run": {"seed": "0"}}', "[" * 100_000])
def test_a_recipe_to_compare(text: str, tmp_path: Path) -> None:
    save_evaluation(tmp_path, EVALUATION)
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(SplatlearnError, match=r"recipe\.json: expected"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"betas": [0.9, 1.0]}}, r"betas: expected two numbers from 0 to below 1, got \(0.9, 1.0\)"),
        ({"optimizer": {"epochs": "3"}}, "optimizer.epochs: expected an integer, got '3'"),
        ({"run": {"out": 3}}, "run.out: expected text, got 3"),
        ({"data": {"lanes": 0}}, "lanes: expected a number above 0, got 0"),
        ({"preset": "papr"}, "preset: expected one of default, paper, laptop, got 'papr'"),
        ({"options": {"decoder_depth": 10**7}}, "depth: expected at most 1024 blocks, got 10000000"),
        ({"model": "gmae_vit_base_patch16_" + "9" * 5000}, "name: expected {mae|gmae}_vit_"),
    ],
)
def test_recipes_are_checked_in_types_and_ranges(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = json.loads(RECIPE.to_json())
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    with pytest.raises(SplatlearnError) as caught:
        Recipe.read(tmp_path / "recipe.json")
    assert "recipe.json: " in str(caught.value)
    caught.match(message.replace("{", r"\{").replace("|", r"\|") if message.startswith("name") else message)


def test_moments_of_another_shape(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    moments = {f"{entry}.weight": torch.zeros(3, 2) for entry in ("exp_avg", "exp_avg_sq")}
    save_file({**moments, "step.weight": torch.tensor(1.0)}, tmp_path / "good.safetensors")
    restore_optimizer(layer, optimizer, TensorFiles(tmp_path, "good"))
    save_file({**moments, "exp_avg.weight": torch.zeros(2, 2)}, tmp_path / "bad.safetensors")
    with pytest.raises(SplatlearnError, match=r"bad: expected moments of .*, got \[2, 2\] for weight"):
        restore_optimizer(layer, optimizer, TensorFiles(tmp_path, "bad"))
