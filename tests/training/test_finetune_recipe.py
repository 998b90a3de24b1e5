import dataclasses
import json

import pytest

from splatlearn.training import (
    AugmentOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
    Recipe,
    RunOptions,
)


def recipe(**changes) -> FinetuneRecipe:
    return dataclasses.replace(
        FinetuneRecipe(model="runs/birds", data=LabelledOptions(data="labelled"), run=RunOptions(out="out")), **changes
    )


def test_survives_json() -> None:
    original = recipe(augment=AugmentOptions(crop_scale=(0.5, 0.9))).resolved(12)
    assert FinetuneRecipe.from_dict(json.loads(original.to_json())) == original


@pytest.mark.parametrize(
    ("depth", "epochs", "rate", "decay", "drop_path"),
    [(12, 100, 5e-4, 0.65, 0.1), (24, 50, 1e-3, 0.75, 0.2), (32, 50, 1e-3, 0.75, 0.3)],
)
def test_the_official_values_by_depth(depth: int, epochs: int, rate: float, decay: float, drop_path: float) -> None:
    options = recipe().resolved(depth).optimizer
    assert (options.epochs, options.base_learning_rate, options.layer_decay) == (epochs, rate, decay)
    assert (options.drop_path, options.warmup_epochs) == (drop_path, 5.0)
    augment = recipe().augment
    assert (augment.mixup, augment.cutmix, augment.rand_augment, augment.erase) == (0.8, 1.0, 9.0, 0.25)


def test_what_was_given_stays_and_warm_up_is_at_most_a_tenth() -> None:
    kept = recipe(optimizer=FinetuneOptimizerOptions(epochs=10, drop_path=0.0)).resolved(32).optimizer
    assert (kept.epochs, kept.drop_path, kept.warmup_epochs) == (10, 0.0, 1.0)


def test_another_kind_of_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown key: 'model'|Unknown key: 'augment'"):
        Recipe.from_dict(json.loads(recipe().to_json()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": FinetuneOptimizerOptions(epochs=0)}, "epochs: expected a number above 0, got 0"),
        ({"optimizer": FinetuneOptimizerOptions(layer_decay=1.2)}, "layer_decay: expected a number between 0 and 1"),
        ({"optimizer": FinetuneOptimizerOptions(drop_path=1.0)}, "drop_path: expected a number from 0 to below 1"),
        ({"optimizer": FinetuneOptimizerOptions(smoothing=-0.1)}, "smoothing: expected a number from 0 to below 1"),
        ({"optimizer": FinetuneOptimizerOptions(base_learning_rate=-1.0)}, "base_learning_rate: expected a number ≥ 0"),
        ({"augment": AugmentOptions(rand_augment=11)}, "rand_augment: expected a magnitude up to 10, got 11"),
        ({"augment": AugmentOptions(erase=1.5)}, "erase: expected a number between 0 and 1, got 1.5"),
        ({"augment": AugmentOptions(mixup=-1)}, "mixup: expected a number ≥ 0, got -1"),
        ({"augment": AugmentOptions(crop_scale=(0.5, 0.2))}, "crop_scale: expected 0 < smallest ≤ largest ≤ 1"),
        ({"data": LabelledOptions(data="x", center_crop=0.0)}, "center_crop: expected a number above 0, got 0.0"),
    ],
)
def test_fields_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**changes)


def test_an_unknown_pooling(no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match="pooling: expected one of mean, cls, got 'max'"):
        recipe(pooling="max")
