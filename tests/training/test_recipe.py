import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from splatlearn.models import ModelOptions, complete_options
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions
from splatlearn.training.pretraining.recipe import Method
from splatlearn.training.pretraining.recipe_migrations import migrate_recipe


def recipe(**changes) -> Recipe:
    return dataclasses.replace(
        Recipe(method="gmae", data=DataOptions(data="photos"), run=RunOptions(out="run")), **changes
    )


def test_survives_json() -> None:
    original = recipe(optimizer=OptimizerOptions(betas=(0.8, 0.9))).resolved()
    assert Recipe.from_dict(json.loads(original.to_json())) == original


def test_each_method_has_its_own_values() -> None:
    gmae, mae = recipe().resolved(), recipe(method="mae").resolved()
    assert gmae.model == "gmae_vit_base_patch16_224" and mae.model == "mae_vit_base_patch16_224"
    assert gmae.objective.normalize_targets is False and mae.objective.normalize_targets is True
    assert (gmae.data.crop_scale, mae.data.crop_scale) == ((0.08, 1.0), (0.2, 1.0))
    assert (gmae.optimizer.warmup_epochs, mae.optimizer.warmup_epochs) == (5, 40)


@pytest.mark.parametrize("method", ["gmae", "mae", "mi-gmae", "mi-mae"])
def test_one_rate_for_small_models_and_the_papers_for_others(method: Method) -> None:
    kind = method.removeprefix("mi-")

    def rate(size: str, **changes: Any) -> float | None:
        made = recipe(method=method, model=f"{kind}_vit_{size}_patch16_64", **changes)
        return made.resolved().optimizer.base_learning_rate

    papers = 1.5e-4 if kind == "mae" else 1e-4
    assert [rate(size) for size in ("micro", "tiny", "small")] == [4e-3] * 3
    assert [rate(size) for size in ("base", "large", "huge")] == [papers] * 3
    assert rate("tiny", preset="paper") == papers and rate("tiny", start_from="runs/mine") == 1e-3
    assert rate("tiny", optimizer=OptimizerOptions(base_learning_rate=0.0)) == 0.0


def test_what_is_painted_depends_on_method_and_preset() -> None:
    found = {
        (method, preset): recipe(method=method, preset=preset).resolved().objective
        for method in ("gmae", "mi-gmae", "mae", "mi-mae")
        for preset in ("default", "paper")
    }
    errors = {key: (each.error, each.visible_weight, each.normalize_targets) for key, each in found.items()}
    assert errors["gmae", "default"] == ("both", 1.0, False)
    assert errors["mi-gmae", "default"] == ("pattern", 1.0, False)
    assert errors["gmae", "paper"] == errors["mi-gmae", "paper"] == ("squared", 0.0, False)
    assert {errors[method, preset] for method in ("mae", "mi-mae") for preset in ("default", "paper")} == {
        ("squared", 0.0, True)
    }
    normalized = recipe(objective=ObjectiveOptions(normalize_targets=True)).resolved().objective
    assert normalized.error == "squared"


def test_a_resolved_recipe_names_every_option_of_its_model() -> None:
    found = recipe(options=ModelOptions(gaussians=64)).resolved()
    assert found.options == complete_options("gmae_vit_base_patch16_224", "default", ModelOptions(gaussians=64))
    assert found.resolved() == found


class TestOlderRecipes:
    """What a recipe of an older version leaves open is what the presets were then."""

    def test_options_and_errors(self, tmp_path: Path) -> None:
        stored = json.loads(recipe(model="gmae_vit_tiny_patch8_64").to_json())
        stored["options"] = {"gaussians": 128, "color": None}
        stored["objective"] = {"mask_ratio": 0.6, "normalize_targets": False}
        before = json.dumps(stored)
        (tmp_path / "recipe.json").write_text(before)
        found = Recipe.read(tmp_path / "recipe.json")
        assert (found.objective.error, found.objective.visible_weight) == ("squared", 0.0)
        options = found.options
        assert (options.gaussians, options.gaussians_per_query, options.decoder_depth) == (128, 1, 4)
        assert (options.color, options.background, options.initial_scale) == ("bounded", "white", 0.5)
        migrate_recipe(stored)
        assert json.dumps(stored) == before

    @pytest.mark.parametrize("method", ["gmae", "mi-gmae", "mae"])
    @pytest.mark.parametrize("preset", ["default", "paper"])
    def test_new_ones_come_back_as_they_were(self, method: Method, preset: Any, tmp_path: Path) -> None:
        kept = recipe(method=method, preset=preset).resolved()
        (tmp_path / "recipe.json").write_text(kept.to_json())
        assert Recipe.read(tmp_path / "recipe.json") == kept

    def test_the_paper_s_are_the_paper_s(self, tmp_path: Path) -> None:
        stored = json.loads(recipe(model="gmae_vit_tiny_patch8_64", preset="paper").to_json())
        stored["objective"] = {}
        (tmp_path / "recipe.json").write_text(json.dumps(stored))
        found = Recipe.read(tmp_path / "recipe.json")
        assert found.options == complete_options("gmae_vit_tiny_patch8_64", "paper")
        assert found.objective.error == "squared"


def test_warm_up_is_at_most_a_tenth() -> None:
    assert recipe(optimizer=OptimizerOptions(epochs=10)).resolved().optimizer.warmup_epochs == 1


def test_what_was_given_stays() -> None:
    kept = recipe(method="mae", objective=ObjectiveOptions(normalize_targets=False)).resolved()
    assert kept.objective.normalize_targets is False
    patterns = recipe(method="mae", objective=ObjectiveOptions(error="pattern")).resolved()
    assert patterns.objective.normalize_targets is False
    with pytest.raises(ValueError, match="error: expected squared with normalised targets"):
        recipe(method="mae", objective=ObjectiveOptions(error="pattern", normalize_targets=True))
    with pytest.raises(ValueError, match="got both"):
        recipe(method="mae", objective=ObjectiveOptions(error="both", normalize_targets=True))


def test_unknown_key_is_named_with_its_path() -> None:
    values = json.loads(recipe().to_json())
    values["optimizer"]["learning_rat"] = 1
    with pytest.raises(ValueError, match="Unknown key: 'optimizer.learning_rat'"):
        Recipe.from_dict(values)


def test_missing_key_is_named() -> None:
    values = json.loads(recipe().to_json())
    del values["data"]["data"]
    with pytest.raises(ValueError, match="Missing key: 'data.data'"):
        Recipe.from_dict(values)


def test_differences_leave_out_what_changes_no_result() -> None:
    base = recipe()
    assert (
        base.differences(recipe(run=RunOptions(out="elsewhere", device="cpu", checkpoint_every=7, resume=True))) == []
    )
    assert base.differences(recipe(run=RunOptions(out="run", seed=1))) == ["run.seed: 0, 1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": ObjectiveOptions(mask_ratio=1.0)}, "mask_ratio: expected a number between 0 and 1, got 1.0"),
        ({"objective": ObjectiveOptions(mask_ratio=0.0)}, "mask_ratio: expected"),
        ({"optimizer": OptimizerOptions(epochs=0)}, "epochs: expected a number above 0, got 0"),
        ({"optimizer": OptimizerOptions(base_learning_rate=-1.0)}, "base_learning_rate: expected a number ≥ 0"),
        ({"data": DataOptions(data="x", crop_scale=(0.5, 0.2))}, "crop_scale: expected 0 < smallest ≤ largest ≤ 1"),
        ({"model": "mae_vit_tiny_patch4_32"}, "model: expected a name that starts with gmae_, got 'mae_vit_tiny"),
    ],
)
def test_fields_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**changes)


def test_old_names_of_options_are_read() -> None:
    stored = {"model": "mae_vit_tiny_patch4_16", "options": {"decoder_width": 32, "decoder_heads": 2, "opacity": None}}
    found = migrate_recipe(stored)["options"]
    assert found == {"decoder_embed_dim": 32, "decoder_num_heads": 2, "opacity": None}
    assert "decoder_width" in stored["options"]


def test_old_names_of_windows_and_scales_are_read(tmp_path: Path) -> None:
    stored = json.loads(recipe(model="gmae_vit_tiny_patch8_64", data=DataOptions(data="x", shuffle_window=9)).to_json())
    stored["data"]["window"] = stored["data"].pop("shuffle_window")
    stored["options"]["overlap"] = 0.7
    del stored["options"]["initial_scale"]
    (tmp_path / "recipe.json").write_text(json.dumps(stored))
    found = Recipe.read(tmp_path / "recipe.json")
    assert (found.data.shuffle_window, found.options.initial_scale) == (9, 0.7)
