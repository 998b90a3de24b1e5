"""Reports of runs, finished and running, by the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.commands import run
from models.small_models import small_gmae, small_mae
from report.test_page import Outline
from splatlearn.cli import report_photos as reporting
from splatlearn.cli.demo_run import demo_recipe
from splatlearn.models import GMAE, MAE, classifier_from, save_model

NASTY = "<img src=x onerror=alert(1)>.png"


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def birds(folder: Path, model: MAE | GMAE, normalize: bool = False) -> Path:
    """A run in the middle of its training: a torn log, and a checkpoint that is being written."""
    for number in range(6):
        photo(folder / "photos" / f"bird{number}.png", number)
    here = folder / "birds"
    save_model(model, here / "checkpoints" / "step-00000020")
    (here / "checkpoints" / ".tmp-step-00000030").mkdir()
    recipe = {
        "data": {"data": str(folder / "photos"), "split": "train", "image_column": None},
        "objective": {"mask_ratio": 0.5, "normalize_targets": normalize},
        "optimizer": {"epochs": 8},
    }
    (here / "recipe.json").write_text(json.dumps(recipe))
    (here / "environment.json").write_text(json.dumps({"command": "splatlearn pretrain", "versions": {"torch": "2"}}))
    lines = [{"step": step, "loss": 1 / step, "epoch": (step - 1) / 10} for step in range(1, 21)]
    (here / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 21, "lo')
    return here


def text_of(page: Path) -> str:
    outline = Outline(page.read_text(encoding="utf-8"))
    assert "script" not in outline.tags
    return "".join(outline.text)


def test_a_run_that_is_still_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = birds(tmp_path, small_gmae())
    assert run("report", str(here), "--device", "cpu") == 0
    assert capsys.readouterr().out.strip() == f"{here / 'report.html'}; model: {here} (step 20)"
    text = text_of(here / "report.html")
    for words in (
        "splatlearn run birds", "The model sees 50% of each photo", "These are of its training data.", "bird0.png",
        "Each photo as 12 Gaussians", "20 of 80 (25%)", "splatlearn pretrain", "optimizer.epochs",
    ):  # fmt: skip
        assert words in text
    assert "Without labels" not in text and "bird2.png" in text and "bird1.png" not in text


def test_given_images_are_read_without_labels(tmp_path: Path) -> None:
    here, image = birds(tmp_path, small_gmae()), photo(tmp_path / NASTY)
    out = tmp_path / "new" / "page.html"
    assert run("report", str(here), str(image), "--out", str(out), "--device", "cpu") == 0
    text = text_of(out)
    assert NASTY in text and "Without labels" in text and "layer 3" in text and "bird0.png" not in text
    assert not (here / "report.html").exists()


def test_a_mae_of_standardised_patches(tmp_path: Path) -> None:
    here = birds(tmp_path, small_mae(), normalize=True)
    assert run("report", str(here), str(photo(tmp_path / "a.png")), "--device", "cpu") == 0
    text = text_of(here / "report.html")
    assert "predicts the pattern within each patch" in text and "Without labels" not in text


def test_a_report_without_pictures_says_why(tmp_path: Path) -> None:
    here = birds(tmp_path, small_gmae())
    (tmp_path / "photos").rename(tmp_path / "away")
    assert run("report", str(here), "--device", "cpu") == 0
    text = text_of(here / "report.html")
    assert "photos, is not here; name some images" in text and "20 of 80 (25%)" in text
    save_model(classifier_from(small_mae(), ("a", "b")), here / "checkpoints" / "step-00000040")
    assert run("report", str(here), "--device", "cpu") == 0
    assert "got a classifier" in text_of(here / "report.html")
    for folder in (here / "checkpoints").iterdir():
        folder.rename(tmp_path / folder.name)
    assert run("report", str(here), str(photo(tmp_path / "a.png")), "--device", "cpu") == 0
    assert "a run writes its first checkpoint when" in text_of(here / "report.html")


def test_wrong_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = birds(tmp_path, small_gmae())
    (tmp_path / "no.png").write_bytes(b"nothing")
    for arguments, message in [
        ((str(tmp_path / "none"),), "run: expected the folder of a run, got"),
        ((str(here), "--out", str(tmp_path)), "out: expected a file such as"),
        ((str(here), str(tmp_path / "no.png")), "no.png: unreadable image"),
    ]:
        assert run("report", *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and "Traceback" not in error
    assert not (here / "report.html").exists()


def test_a_demo_shows_photographs_that_it_never_saw(tmp_path: Path) -> None:
    assert demo_recipe(tmp_path, True, 0, "cpu").data.data == reporting.DEMO
    here = birds(tmp_path, small_gmae())
    recipe = json.loads((here / "recipe.json").read_text())
    recipe["data"]["data"] = reporting.DEMO
    (here / "recipe.json").write_text(json.dumps(recipe))
    assert run("report", str(here), "--device", "cpu") == 0
    text = text_of(here / "report.html")
    assert "chelsea" in text and "It never saw these." in text
