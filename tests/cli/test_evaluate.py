"""`splatlearn evaluate` and `splatlearn compare` on tiny models and pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.commands import run
from data.pictures import truncated_jpeg
from models.small_models import small_gmae, small_mae
from splatlearn.cli.evaluate import EvaluationInput, Machine
from splatlearn.evaluation import EvaluationOptions, read_evaluations
from splatlearn.models import save_model

QUICK = ["--shots", "1", "--shares", "--draws", "2", "--device", "cpu", "--precision", "fp32", "--no-controls"]


def colours(folder: Path, train: int = 4, val: int = 2, classes: tuple[str, ...] = ("red", "green", "blue")) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for channel, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 160, (20, 20, 3), dtype=np.uint8)
                image[..., channel] += 90
                Image.fromarray(image).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colours(tmp_path / "photos")


def a_run(folder: Path, method: str, seed: int) -> Path:
    """What a pre-training run leaves behind, without the training."""
    save_model(small_mae(seed) if method == "mae" else small_gmae(seed), folder / "checkpoints" / "step-00000001")
    (folder / "recipe.json").write_text(json.dumps({"method": method, "run": {"seed": seed}}))
    return folder


def test_every_option_has_help(capsys: pytest.CaptureFixture[str]):
    assert run("evaluate", "--help") == 0
    text = capsys.readouterr().out
    for kind in (EvaluationInput, EvaluationOptions, Machine):
        for field in dataclasses.fields(kind):
            assert f"--{field.name.replace('_', '-')}" in text
    assert "Probes to run: knn, linear, naive-bayes, few-shot." in " ".join(text.split())


def test_a_run_is_evaluated_and_its_report_shows_it(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = a_run(tmp_path / "run", "gmae", 0)
    assert run("evaluate", folder, "--data", photos, *QUICK) == 0
    first = (folder / "evaluation.json").read_bytes()
    told = capsys.readouterr().out
    assert "knn" in told and "1 per class" in told
    assert "12 images to learn from, 6 to be judged on (split val); chance 33.3 %" in told
    assert "What was learned: mean of patch tokens" in (folder / "report.html").read_text(encoding="utf-8")
    kept = sorted(path.name for path in (folder / "features").iterdir())
    assert run("evaluate", folder, "--data", photos, *QUICK) == 0
    assert (folder / "evaluation.json").read_bytes() == first
    assert sorted(path.name for path in (folder / "features").iterdir()) == kept
    assert run("evaluate", folder, "--data", photos, *QUICK, "--pooling", "cls", "--probes", "knn") == 0
    assert [each.features for each in read_evaluations(folder)] == ["class token", "mean of patch tokens"]


def test_a_model_folder_and_places_of_ones_own(photos: Path, tmp_path: Path):
    save_model(small_mae(), tmp_path / "model")
    places = ("--out", tmp_path / "out", "--cache", tmp_path / "kept")
    assert run("evaluate", tmp_path / "model", "--data", photos, *QUICK, *places, "--probes", "knn", "linear") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.html", "evaluation.json"]
    assert len(list((tmp_path / "kept").iterdir())) == 4
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    (evaluation,) = read_evaluations(tmp_path / "out")
    assert [score.key for score in evaluation.model.scores] == ["knn", "linear"]


def test_segmentation(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from splatlearn.evaluation.probes import dense_suite

    quick = dataclasses.replace(dense_suite.SegmentationRecipe(), steps=5)
    monkeypatch.setattr(dense_suite, "SegmentationRecipe", lambda: quick)
    save_model(small_mae(), tmp_path / "model")
    for name in ("images", "masks"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for number in range(5):
            picture = Image.new("L", (24, 16))
            picture.paste(255, (number, 2, 12 + number, 14))
            picture.save(tmp_path / "pairs" / name / f"{number}.png")
    assert run("evaluate", tmp_path / "model", "--segmentation", tmp_path / "pairs", *QUICK) == 0
    assert "linear segmentation" in capsys.readouterr().out
    assert read_evaluations(tmp_path / "model")[0].model.scores[0].metric == "mean IoU"


def test_corrupt_images_are_told_of(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_model(small_mae(), tmp_path / "model")
    (photos / "train" / "red" / "bad.jpg").write_bytes(truncated_jpeg())
    arguments = ("evaluate", tmp_path / "model", "--data", photos, *QUICK, "--probes", "knn")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert "at most 5.0% of samples to be unreadable, got 1 of 13 (train/red/bad.jpg: image file is truncated" in error
    assert not (tmp_path / "model" / "evaluation.json").exists()
    assert run(*arguments, "--max-unreadable", "0.2") == 0
    told = capsys.readouterr()
    assert told.err.count("train/red/bad.jpg: unreadable image: image file is truncated") == 1
    assert "12 images to learn from, 6 to be judged on (split val); 1 unreadable; chance" in told.out
    (evaluation,) = read_evaluations(tmp_path / "model")
    assert (evaluation.train_images, list(evaluation.unreadable)) == (12, ["train/red/bad.jpg"])


def test_a_budget_has_one_row_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_model(small_mae(), tmp_path / "model")
    photos = colours(tmp_path / "many", train=12, classes=("red", "green"))
    options = ("--probes", "few-shot", "--draws", "2", "--no-controls", "--no-diagnostics", "--device", "cpu")
    assert run("evaluate", tmp_path / "model", "--data", photos, *options, "--shares", "0.01", "0.1", "0.5") == 0
    told = capsys.readouterr().out
    tables = [block.splitlines() for block in told.split("\n\n") if "few-shot" in block]
    assert [table[1].split()[:2] for table in tables] == [
        ["few-shot", "linear"],
        ["few-shot", "naive"],
        ["few-shot", "naive"],
    ]
    for table in tables:
        assert [row[:21].strip() for row in table[2:]] == [
            "1 per class (1%, 10%)",
            "5 per class",
            "10 per class",
            "50%",
        ]


def test_the_default_pooling_is_the_same_everywhere():
    from splatlearn.evaluation.features.embedders import EncoderFeatures
    from splatlearn.models import ClassifierConfig
    from splatlearn.training import FinetuneRecipe
    from splatlearn.training.pretraining.mutual_recipe import MutualInformationOptions
    from splatlearn.training.pretraining.probe_options import ProbeOptions

    fields = {field.name: field.default for field in dataclasses.fields(FinetuneRecipe)}
    found = {
        EvaluationOptions().pooling, EncoderFeatures(small_mae().encoder).pooling, fields["pooling"],
        ClassifierConfig(("a", "b")).pooling, MutualInformationOptions().pooling, ProbeOptions().probe_pooling,
    }  # fmt: skip
    assert found == {"mean"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "data: expected labelled images (--data) or images with masks (--segmentation), got neither"),
        (("--data", "{tmp}/none"), "none does not exist"),
        (("--data", "{tmp}/flat"), "data: expected labelled images, got 1 images in"),
        (("--data", "{tmp}/single"), "two or more class folders"),
        (("--data", "{tmp}/missing"), "data: expected images of all 3 classes in val, got none of 'blue'"),
        (("--data", "{tmp}/photos", "--shots", "9"), "shots: expected at most the number of images of the smallest"),
        (
            ("--data", "{tmp}/photos", "--block", "7"),
            "block: expected a number from 1 to 2, the encoder's depth, got 7",
        ),
        (("--data", "{tmp}/photos", "--draws", "0"), "draws: expected a positive number, got 0"),
        (("--data", "{tmp}/photos", "--workers", "0"), "workers: expected a positive number, got 0"),
        (("--segmentation", "{tmp}/photos"), "segmentation: expected a folder with sub-folders images and masks"),
    ],
)
def test_wrong_input_is_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
):
    save_model(small_mae(), tmp_path / "model")
    colours(tmp_path / "single", classes=("only",))
    colours(tmp_path / "missing")
    for path in (tmp_path / "missing" / "val" / "blue").iterdir():
        path.unlink()
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "flat" / "a.png")
    given = [each.replace("{tmp}", str(tmp_path)) for each in arguments]
    assert run("evaluate", tmp_path / "model", *QUICK, *given) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "Traceback" not in error and error.count("\n") == 0
    assert not (tmp_path / "model" / "evaluation.json").exists()


def test_a_model_that_is_nowhere(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("evaluate", "some/where", "--data", photos) == 2
    assert "out: expected a folder for the results, because some/where is not a folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("evaluate", tmp_path / "empty", "--data", photos) == 2
    assert "expected a folder with config.json and model.safetensors" in capsys.readouterr().err


def test_runs_are_compared(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs = [a_run(tmp_path / f"{method}{seed}", method, seed) for method in ("mae", "gmae") for seed in (0, 1)]
    for folder in runs:
        assert run("evaluate", folder, "--data", photos, *QUICK, "--probes", "knn", "naive-bayes") == 0
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert run("compare", *runs, "--out", page) == 0
    told = capsys.readouterr().out
    assert "gmae − mae" in told and "naive Bayes, shared" in told and "paired by seed" in told
    text = page.read_text(encoding="utf-8")
    assert "gmae − mae" in text and text.count("<svg") == 1 and str(runs[3]) in text
    assert run("compare", runs[0], tmp_path / "photos", "--out", page) == 2
    assert (
        "expected a run with evaluation.json, found none; make it with `splatlearn evaluate" in capsys.readouterr().err
    )
    assert run("compare") == 2
    assert "RUN" in (error := capsys.readouterr().err).upper() and "Traceback" not in error
