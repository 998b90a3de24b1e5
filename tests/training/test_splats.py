"""Pre-training on splat sets: through the same loop, resumed to the same bits, with a moving average that is stored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.splat_sets.sets import splat_list, write_folder
from splatlearn.core.errors import InputError
from splatlearn.data import SplatList
from splatlearn.models import ModelOptions, load_model, load_splat_model
from splatlearn.training import DataOptions, ObjectiveOptions, Recipe, pretrain
from splatlearn.training.pretraining.probe_options import ProbeOptions
from splatlearn.training.replay import replay
from training.small_splats import small_splat_recipe, stopped

SETS = splat_list(4)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("method", ["splat-mae", "splat-jepa"])
def test_a_resumed_run_goes_on_to_the_same_bits(tmp_path: Path, method: str) -> None:
    whole, cut = (small_splat_recipe(tmp_path / name, method) for name in ("whole", "cut"))
    pretrain(whole, SETS)
    pretrain(stopped(cut, 3), SETS)
    pretrain(stopped(cut, 4, resume=True), SETS)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")
    folders = [tmp_path / name / "checkpoints" / "step-00000004" for name in ("whole", "cut")]
    names = sorted(path.name for path in folders[0].glob("*.safetensors"))
    assert ("target.safetensors" in names) == (method == "splat-jepa")
    for name in names:
        first, second = (load_file(folder / name) for folder in folders)
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert type(load_splat_model(tmp_path / "whole")).__name__ == {"splat-mae": "SplatMAE"}.get(method, "SplatJEPA")
    with pytest.raises(InputError, match="got one of splat sets; read it with load_splat_model"):
        load_model(tmp_path / "whole")


@pytest.mark.parametrize(
    ("hide", "tokenizer"),
    [
        ("random", "morton"),
        ("block", "neighbours"),
        ("salience", "morton"),
        pytest.param("random", "neighbours", marks=pytest.mark.large),
        pytest.param("block", "morton", marks=pytest.mark.large),
        pytest.param("salience", "neighbours", marks=pytest.mark.large),
    ],
)
def test_every_mask_and_tokenizer_learns(tmp_path: Path, hide: str, tokenizer: str) -> None:
    recipe = small_splat_recipe(tmp_path / "run", hide=hide, tokenizer=tokenizer, group_size=6)
    longer = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=12))
    pretrain(longer, SETS)
    found = losses(tmp_path / "run")
    assert sum(found[-4:]) < 0.8 * sum(found[:4])


def test_a_rendered_loss_is_a_part_of_the_sum(tmp_path: Path) -> None:
    pretrain(small_splat_recipe(tmp_path / "run", rendered=10.0, rendered_size=16), SETS)
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    attributes = sum(line[f"loss_{name}"] for name in ("means", "opacities", "scales", "quaternions", "colors"))
    assert line["loss"] == pytest.approx(attributes + 10.0 * line["loss_rendered"], rel=1e-5)
    assert line["loss_rendered"] > 0
    with pytest.raises(InputError, match="rendered: expected 0 for splat-jepa"):
        pretrain(small_splat_recipe(tmp_path / "other", "splat-jepa", rendered=1.0), SETS)


def test_folders_are_read_and_runs_start_from_others(tmp_path: Path) -> None:
    recipe = small_splat_recipe(tmp_path / "run")
    data = DataOptions(data=str(write_folder(tmp_path / "sets", 4)), workers=1)
    pretrain(dataclasses.replace(recipe, data=data))
    again = dataclasses.replace(
        recipe, data=data, model=None, start_from=str(tmp_path / "run"), splats=type(recipe.splats)(),
        run=dataclasses.replace(recipe.run, out=str(tmp_path / "next"), stop_after=1),
    )  # fmt: skip
    pretrain(again)
    stored = Recipe.read(tmp_path / "next" / "recipe.json")
    assert stored.splats.groups == 8 and stored.model == "splat-mae_vit_micro"
    assert losses(tmp_path / "next")[0] < losses(tmp_path / "run")[0]


def test_the_paper_preset_has_the_published_choices(tmp_path: Path) -> None:
    found = dataclasses.replace(small_splat_recipe(tmp_path), preset="paper").resolved()
    splats = found.splats
    assert (splats.matching, splats.scale_numbers, splats.shared, splats.replacement) == (
        "index",
        "paper",
        "shown",
        True,
    )
    assert found.objective.mask_ratio == 0.6 and found.resolved() == found
    default = small_splat_recipe(tmp_path).resolved().splats
    assert (default.matching, default.scale_numbers, default.shared, default.replacement) == (
        "nearest", "log", "hidden", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": ModelOptions(opacity=0.2)}, "opacity: expected no options of images for splat-mae, got some"),
        ({"objective": ObjectiveOptions(error="squared")}, "error: expected no options of images"),
        ({"probe": ProbeOptions(probe_every=1)}, "probe_every: expected no options of images"),
        ({"preset": "laptop"}, "preset: expected default or paper for splat-mae, got laptop"),
        ({"model": "splat-mae_vit_huge"}, "did you mean 'splat-mae_vit_"),
    ],
)
def test_options_of_images_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(small_splat_recipe(tmp_path), **changes).resolved()


def test_options_of_splats_are_refused_for_images(tmp_path: Path) -> None:
    recipe = small_splat_recipe(tmp_path)
    with pytest.raises(
        InputError, match="method: expected splat-mae or splat-jepa with options of splat sets, got gmae"
    ):
        dataclasses.replace(recipe, method="gmae", model=None)


@pytest.mark.parametrize("method", ["splat-mae", "splat-jepa"])
def test_a_step_that_is_not_finite_is_replayed(tmp_path: Path, method: str) -> None:
    sets = [SETS[index].gaussians for index in range(8)]
    # Twice the largest opacity is infinite, which a stored batch may not hold.
    sets[3] = dataclasses.replace(sets[3], opacities=torch.full_like(sets[3].opacities, 3e38))
    pretrain(small_splat_recipe(tmp_path / "run", method), SplatList(sets))
    folder = next((tmp_path / "run" / "nonfinite").iterdir())
    found = replay(folder, "cpu")
    assert not found.finite and found.module is not None
