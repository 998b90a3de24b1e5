import dataclasses
import json

import pytest

from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions


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


def test_warm_up_is_at_most_a_tenth() -> None:
    assert recipe(optimizer=OptimizerOptions(epochs=10)).resolved().optimizer.warmup_epochs == 1


def test_what_was_given_stays() -> None:
    kept = recipe(method="mae", objective=ObjectiveOptions(normalize_targets=False)).resolved()
    assert kept.objective.normalize_targets is False
    patterns = recipe(method="mae", objective=ObjectiveOptions(error="pattern")).resolved()
    assert patterns.objective.normalize_targets is False
    with pytest.raises(ValueError, match="error: expected squared with normalised targets"):
        recipe(method="mae", objective=ObjectiveOptions(error="pattern", normalize_targets=True))


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
