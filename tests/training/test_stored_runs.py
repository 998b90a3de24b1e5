"""Runs that an earlier version stored are read, evaluated and resumed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from splatlearn.models import load_classifier, load_model, presets
from splatlearn.report import write_run_report
from splatlearn.training import FinetuneRecipe, Recipe, finetune, pretrain
from training.small_finetune import labelled
from training.small_run import losses, pictures
from training.store_runs import ENCODER

STORED = Path(__file__).parent / "stored"
SCHEMAS = sorted(path.name for path in STORED.glob("runs_schema_*"))


@pytest.fixture(params=SCHEMAS)
def runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs, in the folder in which this process works."""
    monkeypatch.setitem(presets.ENCODERS, "tiny", ENCODER)
    shutil.copytree(STORED / request.param, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


def test_there_are_some() -> None:
    assert SCHEMAS


@pytest.mark.parametrize("method", ["gmae", "mae", "mi-gmae"])
def test_models_load_and_paint(runs: Path, method: str) -> None:
    model = load_model(runs / method)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert model.encode(images).shape == (2, 17, ENCODER[0])
    assert Recipe.read(runs / method / "recipe.json").method == method


def test_a_report_can_be_written(runs: Path) -> None:
    page = write_run_report(runs / "gmae")
    assert "gmae_vit_tiny_patch4_16" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["gmae", "mae", "mi-gmae"])
def test_pretraining_is_resumed_to_its_end(runs: Path, method: str) -> None:
    before = losses(runs / method)
    recipe = Recipe.read(runs / method / "recipe.json")
    resumed = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, resume=True))
    result = pretrain(resumed, pictures())
    after = losses(runs / method)
    assert result.steps == 9 and sorted(after) == list(range(1, 10))
    assert {step: after[step] for step in before} == before
    # It is the run that was stopped, not a new one: what it does next is what one that never stopped does.
    shutil.rmtree(runs / method)
    whole = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, resume=False, stop_after=None))
    pretrain(whole, pictures())
    never_stopped = losses(runs / method)
    assert all(after[step] == pytest.approx(never_stopped[step], rel=0.05) for step in range(5, 10))


def test_finetuning_is_resumed_to_its_end(runs: Path) -> None:
    assert load_classifier(runs / "finetuned").state_dict()
    recipe = FinetuneRecipe.read(runs / "finetuned" / "recipe.json")
    resumed = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, resume=True))
    assert finetune(resumed, labelled()).steps == 16
    assert sorted(losses(runs / "finetuned")) == list(range(1, 17))
