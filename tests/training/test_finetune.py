import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.pictures import save, truncated_jpeg
from splatlearn.data import ImageList
from splatlearn.data.labelled import labelled_parts
from splatlearn.images import DataError
from splatlearn.models import load_classifier, load_model
from splatlearn.training import AugmentOptions, CheckpointError, RunFolderError, finetune, pretrain
from training.small_finetune import (
    PLAIN,
    labelled,
    pretrained,
    small_finetuning,
    two_classes,
    weights,
    with_optimizer,
)
from training.small_run import losses, pictures, small_recipe

MIXED = dataclasses.replace(PLAIN, erase=0.5, mixup=0.8, cutmix=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("model") / "mae")


@pytest.fixture(scope="module")
def gmae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("model") / "gmae", "gmae")


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def noise(count: int = 16) -> ImageList:
    """Pictures that have nothing in common with their labels."""
    images = list(np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8))
    return ImageList(images, [str(index) for index in range(count)], [index // 8 for index in range(count)], ["a", "b"])


@pytest.mark.parametrize("pooling", ["mean", pytest.param("cls", marks=pytest.mark.large)])
def test_sixteen_images_are_learned_by_heart(tmp_path: Path, gmae: Path, pooling) -> None:
    recipe = small_finetuning(gmae, tmp_path / "run", dataclasses.replace(PLAIN, crop_scale=(1.0, 1.0), flip=0.0))
    options = {"epochs": 30, "batch_size": 8, "smoothing": 0.0, "drop_path": 0.0, "base_learning_rate": 0.1}
    recipe = dataclasses.replace(with_optimizer(recipe, **options), pooling=pooling)
    result = finetune(recipe, labelled_parts(noise(), noise()))
    assert (result.steps, result.total, result.interrupted) == (60, 60, False)
    curve = losses(tmp_path / "run")
    assert list(curve) == list(range(1, 61))
    assert curve[1] == pytest.approx(np.log(2), abs=0.01) and curve[60] < 0.05
    assert result.top1 == 1.0


def test_without_a_learning_rate_the_encoder_is_the_pretrained_one(tmp_path: Path, model: Path) -> None:
    recipe = small_finetuning(model, tmp_path / "run")
    finetune(with_optimizer(recipe, base_learning_rate=0.0, min_learning_rate=0.0, epochs=1), labelled())
    before, after = load_model(model).encoder.state_dict(), load_classifier(tmp_path / "run").encoder.state_dict()
    assert after.keys() == before.keys() - {"norm.weight", "norm.bias"}
    assert all(torch.equal(after[name], before[name]) for name in after)


@pytest.mark.parametrize(
    ("stop", "accumulate", "workers", "augment"),
    [(6, 1, 0, MIXED), (4, 1, 2, MIXED), (3, 2, 0, MIXED), (5, 1, 0, AugmentOptions())],
)
def test_resuming_is_as_never_having_stopped(
    tmp_path: Path, model: Path, stop: int, accumulate: int, workers: int, augment: AugmentOptions
) -> None:
    if augment.rand_augment:
        pytest.importorskip("kornia")

    def run(name: str, **options) -> None:
        recipe = with_optimizer(
            small_finetuning(model, tmp_path / name, augment, **options),
            accumulate=accumulate, batch_size=4 // accumulate, epochs=2, drop_path=0.3, ema_decay=0.9,
        )  # fmt: skip
        data = dataclasses.replace(recipe.data, workers=workers if options else 0)
        finetune(dataclasses.replace(recipe, data=data), labelled())

    run("whole")
    run("parts", stop_after=stop)
    assert list(losses(tmp_path / "parts")) == list(range(1, stop + 1))
    torch.rand(5)  # what others draw in between changes nothing
    run("parts", resume=True)
    assert len(losses(tmp_path / "whole")) == 8 and losses(tmp_path / "whole") == losses(tmp_path / "parts")
    for folder in ("", "average"):
        one, other = weights(tmp_path / "whole" / folder), weights(tmp_path / "parts" / folder)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    score = [json.loads((tmp_path / name / "finetune.json").read_text()) for name in ("whole", "parts")]
    assert score[0] == score[1]
    assert not np.array_equal(
        weights(tmp_path / "whole")["head.weight"], weights(tmp_path / "whole/average")["head.weight"]
    )


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path, model: Path) -> None:
    before = torch.random.get_rng_state()
    recipe = small_finetuning(model, tmp_path / "run", MIXED)
    finetune(with_optimizer(recipe, epochs=1, drop_path=0.5), labelled())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_drop_path_is_on_in_training_and_off_in_validation(tmp_path: Path, model: Path) -> None:
    def run(drop_path: float) -> tuple[dict[int, float], dict]:
        recipe = small_finetuning(model, tmp_path / str(drop_path))
        rates = {"base_learning_rate": 0.0, "min_learning_rate": 0.0, "epochs": 1, "drop_path": drop_path}
        finetune(with_optimizer(recipe, **rates), labelled())
        return losses(tmp_path / str(drop_path)), json.loads((tmp_path / str(drop_path) / "finetune.json").read_text())

    (without, plain), (with_it, dropped) = run(0.0), run(0.9)
    assert all(without[step] != with_it[step] for step in without)
    assert plain["loss"] == dropped["loss"]


def test_validation_every_second_epoch_and_after_the_last(tmp_path: Path, model: Path) -> None:
    recipe = with_optimizer(small_finetuning(model, tmp_path / "run"), epochs=3)
    data = dataclasses.replace(recipe.data, validate_every=2)
    result = finetune(dataclasses.replace(recipe, data=data), labelled())
    checked = [entry for entry in logged(tmp_path / "run") if "validation_top1" in entry]
    assert [entry["epoch"] for entry in checked] == [2, 3]
    assert result.top1 == checked[-1]["validation_top1"]
    with pytest.raises(ValueError, match="validate_every: expected a number above 0"):
        dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, validate_every=0))


def test_the_log_and_the_scores(tmp_path: Path, model: Path) -> None:
    result = finetune(with_optimizer(small_finetuning(model, tmp_path / "run"), epochs=3, ema_decay=0.5), labelled())
    checked = [entry for entry in logged(tmp_path / "run") if "validation_top1" in entry]
    assert [(entry["step"], entry["epoch"]) for entry in checked] == [(4, 1), (8, 2), (12, 3)]
    scores = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert (scores["epochs"], scores["epochs_of"], scores["steps"]) == (3, 3, 12)
    assert (scores["train_images"], scores["validation_images"], scores["chance"]) == (16, 8, 0.5)
    assert scores["classes"] == ["dark", "bright"] and scores["model"] == str(model)
    assert scores["top1"] == result.top1 == checked[-1]["validation_top1"]
    assert scores["top1_average"] == result.top1_average == checked[-1]["validation_top1_average"]
    low, high = scores["top1_interval"]
    assert 0 <= low < high <= 1


def test_the_scores_are_those_of_the_saved_models(tmp_path: Path, model: Path) -> None:
    data = labelled_parts(two_classes(16, side=16), two_classes(8, side=16, seed=1))
    images = torch.stack([torch.from_numpy(np.array(data.val[i].image)).permute(2, 0, 1) / 255 for i in range(8)])
    labels = torch.from_numpy(data.val.labels)
    finetune(with_optimizer(small_finetuning(model, tmp_path / "run"), ema_decay=0.8), data)
    scores = json.loads((tmp_path / "run" / "finetune.json").read_text())
    for folder, suffix in (("run", ""), ("run/average", "_average")):
        with torch.no_grad():
            logits = load_classifier(tmp_path / folder)(images)
        assert scores[f"top1{suffix}"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
        assert scores[f"loss{suffix}"] == pytest.approx(
            float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-4
        )


def test_an_unreadable_validation_image_is_left_out_and_named_once(tmp_path: Path, model: Path) -> None:
    for index in range(20):
        save(tmp_path / "photos" / ("train", "val")[index >= 10] / "ab"[index % 2] / f"{index:02d}.png", seed=index)
    (tmp_path / "photos" / "val" / "b" / "torn.jpg").write_bytes(truncated_jpeg())
    recipe = with_optimizer(small_finetuning(model, tmp_path / "run"), epochs=2)
    data = dataclasses.replace(recipe.data, data=str(tmp_path / "photos"), max_unreadable=0.2)
    finetune(dataclasses.replace(recipe, data=data))
    named = [entry["unreadable"] for entry in logged(tmp_path / "run") if "unreadable" in entry]
    assert named == ["val/b/torn.jpg"]
    assert json.loads((tmp_path / "run" / "finetune.json").read_text())["validation_images"] == 10


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, model: Path) -> None:
    first = finetune(small_finetuning(model, tmp_path / "run"), labelled())
    before = weights(tmp_path / "run")
    again = finetune(small_finetuning(model, tmp_path / "run", resume=True), labelled())
    assert (again.steps, again.top1, again.top1_average) == (first.steps, first.top1, first.top1_average)
    assert all(np.array_equal(before[name], value) for name, value in weights(tmp_path / "run").items())


def test_without_an_average(tmp_path: Path, model: Path) -> None:
    result = finetune(with_optimizer(small_finetuning(model, tmp_path / "run"), epochs=1, ema_decay=0.0), labelled())
    assert result.top1 is not None and result.top1_average is None
    assert not (tmp_path / "run" / "average").exists()


def test_before_the_first_epoch_there_is_no_score(tmp_path: Path, model: Path) -> None:
    result = finetune(small_finetuning(model, tmp_path / "run", stop_after=2), labelled())
    assert result.top1 is None and result.interrupted and not (tmp_path / "run" / "finetune.json").exists()


def test_resuming_does_not_need_the_pretrained_model(tmp_path: Path, model: Path) -> None:
    finetune(small_finetuning(model, tmp_path / "run", stop_after=2), labelled())
    gone = dataclasses.replace(small_finetuning(model, tmp_path / "run", resume=True), model=str(model))
    model.rename(model.with_name("away"))
    try:
        assert finetune(gone, labelled()).steps == 16
    finally:
        model.with_name("away").rename(model)


class TestErrors:
    def test_without_kornia_nothing_is_written(
        self, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kornia" else find(name))
        with pytest.raises(ValueError, match=r"pip install 'splatlearn\[finetune\]'"):
            finetune(small_finetuning(model, tmp_path / "run", AugmentOptions()), labelled())
        assert not (tmp_path / "run").exists()

    def test_a_single_class(self, tmp_path: Path, model: Path) -> None:
        one = ImageList([np.zeros((16, 16, 3), np.uint8)] * 8, [str(i) for i in range(8)], [0] * 8, ["only"])
        with pytest.raises(DataError, match="expected at least two classes, got only 'only'"):
            finetune(small_finetuning(model, tmp_path / "run"), labelled_parts(one))
        assert not (tmp_path / "run").exists()

    def test_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="expected an existing folder or a Hub id"):
            finetune(small_finetuning(tmp_path / "no" / "such" / "run", tmp_path / "run"), labelled())
        assert not (tmp_path / "run").exists()

    def test_fewer_images_than_a_batch(self, tmp_path: Path, model: Path) -> None:
        with pytest.raises(DataError, match="batch_size: expected at most the 16 samples"):
            finetune(with_optimizer(small_finetuning(model, tmp_path / "run"), batch_size=32), labelled())
        assert not (tmp_path / "run").exists()

    def test_a_pretraining_run_is_in_the_way(self, tmp_path: Path, model: Path) -> None:
        pretrain(small_recipe(tmp_path / "run", "mae", stop_after=1), pictures())
        with pytest.raises(RunFolderError, match="already holds a run"):
            finetune(small_finetuning(model, tmp_path / "run"), labelled())
        (tmp_path / "run" / "checkpoints").rename(tmp_path / "elsewhere")
        with pytest.raises(RunFolderError, match="expected the recipe of such a run in .*recipe.json, got another one"):
            finetune(small_finetuning(model, tmp_path / "run", resume=True), labelled())

    def test_resuming_with_another_recipe_or_other_classes(self, tmp_path: Path, model: Path) -> None:
        finetune(small_finetuning(model, tmp_path / "run", stop_after=1), labelled())
        recipe = small_finetuning(model, tmp_path / "run", resume=True)
        with pytest.raises(RunFolderError, match=r"another recipe .*optimizer.smoothing: 0.1, 0.2"):
            finetune(with_optimizer(recipe, smoothing=0.2), labelled())
        with pytest.raises(ValueError, match="the classes that the run in .* began with, dark, bright, got a, b"):
            finetune(recipe, labelled_parts(noise(), noise()))

    def test_a_checkpoint_without_the_average(self, tmp_path: Path, model: Path) -> None:
        finetune(small_finetuning(model, tmp_path / "run", stop_after=1), labelled())
        (tmp_path / "run" / "checkpoints" / "step-00000001" / "average.safetensors").unlink()
        with pytest.raises(CheckpointError, match="expected average.safetensors in the checkpoint, found none"):
            finetune(small_finetuning(model, tmp_path / "run", resume=True), labelled())
