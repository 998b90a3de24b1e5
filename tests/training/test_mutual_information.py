import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splatlearn.models import load_model
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.runs.folder import RECIPE
from splatlearn.training import CheckpointError, MutualInformationOptions, ObjectiveOptions, Recipe, pretrain
from training.small_run import losses, pictures, small_recipe
from training.two_trainers import SMALL

pytestmark = pytest.mark.usefixtures("small_encoder")

NETWORKS = MutualInformationOptions(projector=8, estimator_width=16, estimator_steps=2, minimize_weight=0.01)


def several(out: Path, method: str = "mi-mae", mutual: MutualInformationOptions = NETWORKS, **run) -> Recipe:
    """A small run with four masks of each image."""
    recipe = small_recipe(out, method.removeprefix("mi-"), **run)
    objective = ObjectiveOptions(mask_ratio=0.75, normalize_targets=False)
    return dataclasses.replace(recipe, method=method, objective=objective, mutual=mutual)  # type: ignore[arg-type]


def entries(folder: Path, key: str = "loss") -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if key in line]


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint_folders(folder)[-1] / "mutual_information.safetensors")


@pytest.mark.parametrize("method", ["mi-mae", "mi-gmae"])
def test_every_term_is_learned_and_logged(tmp_path: Path, method: str) -> None:
    # Weights under which a few steps teach both models something.
    mutual = dataclasses.replace(NETWORKS, maximize_weight=0.01, minimize_weight=0.01)
    recipe = several(tmp_path / "run", method, mutual)
    recipe = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=7))
    assert pretrain(recipe, pictures()).steps == 21
    lines = entries(tmp_path / "run")
    for line in lines:
        total = line["loss_reconstruction"] + 0.01 * line["loss_maximize"] + 0.01 * line["loss_minimize"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    first, last = lines[:4], lines[-4:]
    for name in ("loss_reconstruction", "loss_maximize"):
        assert sum(line[name] for line in last) < 0.95 * sum(line[name] for line in first), name
    assert min(line["estimator_fit"] for line in last) > max(0.0, lines[0]["estimator_fit"])
    assert entries(tmp_path / "run", "minimize_off")[-1]["minimize_off"] == 0.0
    assert load_model(tmp_path / "run").encode(torch.rand(1, 3, 16, 16)).shape == (1, 17, SMALL[0])


@pytest.mark.parametrize(("method", "estimator", "accumulate"), [("mi-gmae", "club", 1), ("mi-mae", "mine", 2)])
def test_resuming_is_as_never_having_stopped(tmp_path: Path, method: str, estimator: str, accumulate: int) -> None:
    def run(name: str, **options) -> None:
        mutual = dataclasses.replace(NETWORKS, estimator=estimator)  # type: ignore[arg-type]
        recipe = several(tmp_path / name, method, mutual, **options)
        optimizer = dataclasses.replace(recipe.optimizer, accumulate=accumulate, batch_size=8 // accumulate)
        pretrain(dataclasses.replace(recipe, optimizer=optimizer), pictures(26))

    run("whole")
    run("parts", stop_after=4)
    run("parts", resume=True)
    whole, parts = entries(tmp_path / "whole"), entries(tmp_path / "parts")
    assert len(whole) == 9 and whole == parts
    one, other = (load_model(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    kinds = {f"{network}.{part}" for network in ("projector", "estimator") for part in ("weights", "optimizer")}
    assert {".".join(name.split(".")[:2]) for name in one} == kinds
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_one_mask_without_terms_is_mae_bit_for_bit(tmp_path: Path) -> None:
    none = MutualInformationOptions(masks=1, maximize_weight=0.0, minimize_weight=0.0)
    recipe = several(tmp_path / "mi", "mi-mae", none)
    pretrain(recipe, pictures())
    alone = dataclasses.replace(
        recipe,
        method="mae",
        mutual=MutualInformationOptions(),
        run=dataclasses.replace(recipe.run, out=str(tmp_path / "mae")),
    )
    pretrain(alone, pictures())
    assert entries(tmp_path / "mi") == entries(tmp_path / "mae")
    one, other = (load_model(tmp_path / name).state_dict() for name in ("mi", "mae"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_controls_are_settings(tmp_path: Path) -> None:
    terms = {
        "none": ((0.0, 0.0), set()),
        "max": ((0.1, 0.0), {"loss_reconstruction", "loss_maximize"}),
        "min": ((0.0, 0.1), {"loss_reconstruction", "loss_minimize"}),
    }
    curves = []
    for name, (weights, parts) in terms.items():
        mutual = dataclasses.replace(NETWORKS, masks=4, maximize_weight=weights[0], minimize_weight=weights[1])
        # The same settings make a method without terms of its own a multi-mask one.
        method = "mae" if name == "none" else "mi-mae"
        pretrain(several(tmp_path / name, method, mutual, stop_after=3), pictures())
        lines = entries(tmp_path / name)
        assert {key for key in lines[0] if key.startswith("loss_")} == parts
        assert ("estimator_fit" in lines[0]) == ("loss_minimize" in parts)
        curves.append([line.get("loss_reconstruction", line["loss"]) for line in lines])
    assert not (checkpoint_folders(tmp_path / "none")[-1] / "mutual_information.safetensors").exists()
    # The terms' networks leave the model's first weights alone, so that runs begin alike and then part.
    assert len({curve[0] for curve in curves}) == 1 and len({curve[-1] for curve in curves}) == 3


@pytest.mark.parametrize("pattern", ["block", "grid"])
def test_masks_of_other_patterns(tmp_path: Path, pattern: str) -> None:
    mutual = dataclasses.replace(NETWORKS, mask_pattern=pattern, pooling="cls")  # type: ignore[arg-type]
    assert pretrain(several(tmp_path / "run", "mi-mae", mutual, stop_after=1), pictures()).steps == 1
    assert len(losses(tmp_path / "run")) == 1


def test_a_diverging_estimator_is_kept_out_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutual = dataclasses.replace(NETWORKS, estimator_learning_rate=1e9, minimize_weight=1.0)
    assert pretrain(several(tmp_path / "run", "mi-mae", mutual), pictures()).steps == 9
    lines, shares = entries(tmp_path / "run"), entries(tmp_path / "run", "minimize_off")
    assert shares[-1]["minimize_off"] == 1.0 and lines[-1]["loss_minimize"] == 0.0
    assert all(line["loss"] == pytest.approx(line["loss"]) and line["loss"] < 10 for line in lines)
    assert "the minimise term was off in 100% of the last steps" in capsys.readouterr().err


def test_a_checkpoint_without_the_networks(tmp_path: Path) -> None:
    pretrain(several(tmp_path / "run", stop_after=1), pictures())
    (checkpoint_folders(tmp_path / "run")[-1] / "mutual_information.safetensors").unlink()
    with pytest.raises(CheckpointError, match="expected mutual_information.safetensors in the checkpoint, found none"):
        pretrain(several(tmp_path / "run", resume=True), pictures())


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", "mae", stop_after=8), pictures())
    path = tmp_path / "run" / RECIPE
    stored = json.loads(path.read_text())
    del stored["mutual"]
    path.write_text(json.dumps(stored))
    assert pretrain(small_recipe(tmp_path / "run", "mae", resume=True), pictures()).steps == 9


class TestRecipe:
    def test_each_method_has_its_own_values(self, tmp_path: Path) -> None:
        for method in ("mae", "gmae"):
            alone = small_recipe(tmp_path, method).resolved().mutual
            assert (alone.masks, alone.maximize_weight, alone.minimize_weight) == (1, 0.0, 0.0)
            recipe = several(tmp_path, f"mi-{method}", MutualInformationOptions())
            mutual = dataclasses.replace(recipe, model=None).resolved()
            assert mutual.model == f"{method}_vit_base_patch16_224"
            assert mutual.mutual.masks == 4 and mutual.mutual.temperature == 0.07
            assert (mutual.mutual.maximize_weight, mutual.mutual.minimize_weight) == (
                (1e-2, 1e-4) if method == "mae" else (1e-3, 1e-5)
            )
            alike = dataclasses.replace(recipe, method=method).resolved()  # type: ignore[arg-type]
            assert recipe.resolved().optimizer == alike.optimizer and recipe.resolved().data == alike.data

    def test_model_of_another_kind(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="model: expected a name that starts with mae_, got 'gmae_vit_tiny"):
            dataclasses.replace(several(tmp_path, "mi-gmae"), method="mi-mae")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"masks": 0}, "masks: expected a number above 0, got 0"),
            ({"masks": 1, "maximize_weight": 1.0}, "masks: expected at least 2, because maximize_weight"),
            ({"temperature": 0.0}, "temperature: expected a number above 0, got 0.0"),
            ({"minimize_weight": -1.0}, "minimize_weight: expected a number ≥ 0, got -1.0"),
            ({"maximize_weight": float("nan")}, "maximize_weight: expected a number ≥ 0, got nan"),
            ({"projector": -1}, "projector: expected a number ≥ 0, got -1"),
            ({"estimator": "nwj"}, "estimator: expected one of club, leave-one-out, mine, got 'nwj'"),
            ({"mask_pattern": "stripes"}, "mask_pattern: expected one of random, block, grid, got 'stripes'"),
            ({"pooling": "max"}, "pooling: expected one of mean, cls, got 'max'"),
            ({"estimator_steps": 0}, "estimator_steps: expected a number above 0, got 0"),
        ],
    )
    @pytest.mark.usefixtures("no_shape_checks")
    def test_fields_out_of_range(self, tmp_path: Path, changes: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            several(tmp_path, "mi-mae", MutualInformationOptions(**changes))

    def test_a_batch_of_one(self, tmp_path: Path) -> None:
        recipe = several(tmp_path / "run", "mi-gmae", MutualInformationOptions())
        single = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, batch_size=1))
        message = "batch_size: expected at least 2 with maximize_weight and minimize_weight, which compare .*, got 1"
        with pytest.raises(ValueError, match=message):
            pretrain(single, pictures())
        assert not (tmp_path / "run").exists()

    def test_more_masks_than_fit(self, tmp_path: Path) -> None:
        recipe = several(tmp_path / "run", "mi-mae", MutualInformationOptions(masks=5))
        with pytest.raises(ValueError, match=r"each shows int\(16·\(1 − 0.75\)\) = 4 patches, and 5·4 = 20 of 16"):
            pretrain(recipe, pictures())
        assert not (tmp_path / "run").exists()
