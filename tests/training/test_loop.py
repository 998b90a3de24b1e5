import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splatlearn.images import DataError
from splatlearn.models import load_model, random_mask
from splatlearn.training import Recipe, RunFolderError, pretrain
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


@pytest.mark.parametrize("method", ["gmae", "mae"])
def test_the_loss_falls_and_the_run_can_be_loaded(tmp_path: Path, method: str) -> None:
    recipe = small_recipe(tmp_path / "run", method)
    recipe = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=15))
    result = pretrain(recipe, pictures())
    assert (result.steps, result.total, result.interrupted) == (45, 45, False)
    curve = losses(tmp_path / "run")
    assert list(curve) == list(range(1, 46))
    assert np.mean([curve[step] for step in range(40, 46)]) < 0.7 * np.mean([curve[step] for step in range(1, 7)])
    model = load_model(tmp_path / "run")
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = random_mask(2, (4, 4), 0.5, torch.Generator().manual_seed(0))
    assert model(images, mask).image.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(("stop", "accumulate", "workers"), [(4, 1, 0), (3, 1, 2), (2, 2, 0)])
def test_resuming_is_as_never_having_stopped(tmp_path: Path, stop: int, accumulate: int, workers: int) -> None:
    def run(name: str, **options) -> None:
        recipe = small_recipe(tmp_path / name, **options)
        optimizer = dataclasses.replace(recipe.optimizer, accumulate=accumulate, batch_size=8 // accumulate)
        data = dataclasses.replace(recipe.data, workers=workers if options else 0)
        pretrain(dataclasses.replace(recipe, optimizer=optimizer, data=data), pictures(26))

    run("whole")
    run("parts", stop_after=stop)
    assert list(losses(tmp_path / "parts")) == list(range(1, stop + 1))
    run("parts", resume=True)
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert len(whole) == 9 and whole == parts
    one, other = load_model(tmp_path / "whole"), load_model(tmp_path / "parts")
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_steps_after_the_checkpoint_leave_the_log(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", stop_after=4), pictures())
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "loss": 123.0}) + '\n{"step": 6, "lo')
    pretrain(small_recipe(tmp_path / "run", resume=True), pictures())
    curve = losses(tmp_path / "run")
    assert list(curve) == list(range(1, 10)) and curve[5] != 123.0


def test_accumulating_two_batches_is_one_step_on_both(tmp_path: Path) -> None:
    def run(name: str, batch: int, accumulate: int) -> dict[int, float]:
        recipe = small_recipe(tmp_path / name)
        optimizer = dataclasses.replace(recipe.optimizer, batch_size=batch, accumulate=accumulate)
        pretrain(dataclasses.replace(recipe, optimizer=optimizer), pictures())
        return losses(tmp_path / name)

    assert run("two", 4, 2) == pytest.approx(run("one", 8, 1), rel=1e-3)


def test_old_checkpoints_go(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", checkpoint_every=2, keep_checkpoints=2), pictures())
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000009"]


def test_a_truncated_image_is_skipped_counted_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(30):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / f"{index:02d}.jpg")
    whole = (folder / "07.jpg").read_bytes()
    (folder / "07.jpg").write_bytes(whole[: len(whole) // 2])
    recipe = small_recipe(tmp_path / "run")
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, data=str(folder), max_unreadable=0.1))
    pretrain(recipe)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    bad = [entry for entry in entries if "unreadable" in entry]
    assert len(bad) == 1 and "07.jpg" in bad[0]["unreadable"]

    strict = dataclasses.replace(recipe.data, max_unreadable=0.01)
    run = dataclasses.replace(recipe.run, out=str(tmp_path / "other"))
    with pytest.raises(DataError, match="at most 1.0% of samples to be unreadable, got 1 of 30"):
        pretrain(dataclasses.replace(recipe, data=strict, run=run))


def test_images_smaller_than_the_crop_are_enlarged_and_named(tmp_path: Path) -> None:
    assert pretrain(small_recipe(tmp_path / "run"), pictures(side=10)).steps == 9
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    named = [entry["enlarged"] for entry in entries if "enlarged" in entry]
    assert len(named) == 1 and named[0].startswith("picture ")


class TestFolders:
    def test_another_run_is_in_the_way(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run"), pictures())
        with pytest.raises(
            RunFolderError, match=r"already holds a run \(newest checkpoint step-00000009\); add --resume"
        ):
            pretrain(small_recipe(tmp_path / "run"), pictures())

    def test_resuming_with_another_recipe(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run"), pictures())
        recipe = small_recipe(tmp_path / "run", resume=True, seed=3)
        with pytest.raises(RunFolderError, match="another recipe .*run.seed: 0, 3"):
            pretrain(recipe, pictures())

    def test_resuming_another_model(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run", "mae"), pictures())
        with pytest.raises(RunFolderError, match="model: mae_vit_tiny_patch4_16, gmae_vit_tiny_patch4_16"):
            pretrain(small_recipe(tmp_path / "run", resume=True), pictures())

    def test_something_else_is_in_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(RunFolderError, match="which holds thesis.tex and no run"):
            pretrain(small_recipe(tmp_path), pictures())
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_mistake_in_the_recipe_leaves_no_folder(self, tmp_path: Path) -> None:
        recipe = dataclasses.replace(small_recipe(tmp_path / "run"), model="gmae_vit_tiny_patch5_16")
        with pytest.raises(ValueError, match="16"):
            pretrain(recipe, pictures())
        with pytest.raises(DataError, match="batch_size"):
            pretrain(small_recipe(tmp_path / "run"), pictures(4))
        assert not (tmp_path / "run").exists()


def test_a_soft_order_is_learned_and_resumed(tmp_path: Path) -> None:
    """The temperature and the lattice of pixels are functions of the step."""

    def recipe(name: str, **run) -> Recipe:
        small = small_recipe(tmp_path / name, **run)
        return dataclasses.replace(small, options=dataclasses.replace(small.options, depth="soft-order"))

    whole = pretrain(recipe("whole"), pictures())
    pretrain(recipe("cut", stop_after=4), pictures())
    pretrain(recipe("cut", resume=True), pictures())
    assert losses(tmp_path / "cut") == losses(whole.folder)
    lines = [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()]
    terms = [line["loss_soft_order"] for line in lines if "loss" in line]
    assert len(terms) == whole.steps and all(0 < term < 1 for term in terms)
