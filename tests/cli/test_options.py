"""Options that cannot work are refused before work begins; those that change nothing are said."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run
from data.pictures import save
from models.small_models import small_gmae
from splatlearn.models import save_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GMAE of 16×24 pixels in patches of 4, with 12 Gaussians."""
    save_model(small_gmae(), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    save(tmp_path / "a.png", 1, 20, 31)
    return tmp_path / "a.png"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for label in ("a", "b"):
        for number in range(4):
            save(tmp_path / "labelled" / label / f"{number}.png", number)
    return tmp_path / "labelled"


WINDOWS = ("--sizing", "windows")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("edges", "MODEL", "PHOTO", *WINDOWS, "--window", "3"), "window: expected at least 4 pixels, which cover"),
        (("layers", "MODEL", "PHOTO", *WINDOWS, "--window", "1"), "window: expected at least 4 pixels, which cover"),
        (("segment", "MODEL", "PHOTO", *WINDOWS, "--window", "0"), "window: expected a whole number"),
        (("view", "MODEL", "PHOTO", *WINDOWS, "--window", "2"), "window: expected at least 4 pixels, which cover"),
        (("edges", "MODEL", "PHOTO", *WINDOWS, "--overlap", "1"), "overlap: expected a finite number"),
        (("edges", "MODEL", "PHOTO", *WINDOWS, "--overlap", "nan"), "overlap: expected a finite number"),
        (("layers", "MODEL", "PHOTO", "--count", "13"), "count: expected 1 to 12 layers for 12 Gaussians, got 13"),
        (("layers", "MODEL", "PHOTO", "--count", "0"), "count: expected a whole number"),
        (("segment", "MODEL", "PHOTO", "--groups", "1"), "groups: expected a whole number of at least 2"),
        (("edges", "MODEL", "PHOTO", "--batch-size", "0"), "batch_size: expected at least 1 image, got 0"),
        (("edges", "MODEL", "PHOTO", "--max-size", "3"), "max_size: expected at least 4 pixels, one patch"),
        (("edges", "MODEL", "PHOTO", "--max-size", "-1"), "max_size: expected a number of pixels, or 0"),
        (("edges", "MODEL", "PHOTO", "--fit-steps", "-1"), "fit_steps: expected a whole number of at least 0, got -1"),
        (("edges", "MODEL", "PHOTO", "--device", "abacus"), "device: "),
        (("view", "MODEL", "PHOTO", "--groups", "11"), "groups: expected 2 to 10 clusters, got 11"),
        (("fit", "PHOTO", "--steps", "-1"), "gaussians, steps: expected at least 1 and 0, got 1000 and -1"),
        (("fit", "PHOTO", "--gaussians", "0"), "gaussians, steps: expected at least 1 and 0, got 0 and 300"),
        (("fit", "PHOTO", "--add", "-1"), "add: expected a whole number of at least 0, got -1"),
        (("fit", "PHOTO", "--max-size", "-5"), "max_size: expected a number of pixels, or 0"),
        (("report", "MODEL", "PHOTO", "--device", "abacus"), "device: "),
        (("evaluate", "MODEL", "--data", "LABELLED", "--shots", "9"), "shots: expected at most the number of"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--shots", "0"), "shots: expected positive numbers of images"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--shares", "1.5"), "shares: expected shares in (0, 1), got 1.5"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--knn-temperature", "0"), "knn_temperature: expected a number"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--knn-temperature", "nan"), "knn_temperature: expected"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--seed", "-1"), "seed: expected a number from 0 to 2**64 - 1"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--block", "9"), "block: expected a number from 1 to 2"),
        (("benchmark", "bsds500", "MODEL", "--data", "NONE", "--processes", "0"), "processes: expected at least 1"),
        (("benchmark", "bsds500", "MODEL", "--data", "NONE", "--thresholds", "0"), "thresholds: expected at least 1"),
        (("benchmark", "bsds500", "MODEL", "--data", "NONE", *WINDOWS, "--window", "1"), "window: expected at least 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_cannot_work_is_refused_before_work_begins(
    arguments: tuple[str, ...],
    message: str,
    model: Path,
    photo: Path,
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (model / "recipe.json").write_text("{}")

    def work(*given: object, **named: object) -> None:
        raise AssertionError("work has begun")

    # Predictions, features and fits: none is made for options that are refused.
    for module, name in (
        ("splatlearn.zero_shot.reading", "_predict"),
        ("splatlearn.fitting.descent", "_descend"),
        ("splatlearn.evaluation.features.cache", "extract"),
    ):
        monkeypatch.setattr(importlib.import_module(module), name, work)
    places = {"MODEL": model, "PHOTO": photo, "LABELLED": labelled, "NONE": tmp_path / "none"}
    out = tmp_path / ("out.html" if arguments[0] in ("view", "report") else "out")
    given = [places.get(each, each) for each in arguments]
    assert run(*given, "--out", out) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"splatlearn: {message}"), error
    assert "\n" not in error and not out.exists()


def test_windows_beyond_count_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (600, 400)).save(tmp_path / "large.png")
    options = (*WINDOWS, "--window", "8", "--overlap", "0.99", "--out", tmp_path / "out")
    assert run("edges", model, tmp_path / "large.png", *options) == 2
    assert "window, overlap: expected at most 16384 windows, got 231477 of 8×12" in capsys.readouterr().err


def test_wrong_masks_are_told_before_the_other_evaluation(
    model: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("images", "masks"):
        for number in range(2):
            (tmp_path / "pairs" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 24)).save(tmp_path / "pairs" / name / f"{number}.png")
    assert run("evaluate", model, "--data", labelled, "--segmentation", tmp_path / "pairs") == 2
    assert "segmentation: expected masks of at least two classes" in capsys.readouterr().err
    assert not (model / "evaluation.json").exists() and not (model / "features").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("edges", "MODEL", "PHOTO", "--window", "8"), "--window has no effect without --sizing windows"),
        (("view", "MODEL", "PHOTO", "--overlap", "0.2"), "--overlap has no effect without --sizing windows"),
        (("layers", "MODEL", "PHOTO", "--window", "8", "--overlap", "0", "--count", "2"),
         "--window, --overlap have no effect without --sizing windows"),
        (("edges", "MODEL", "PHOTO", "--method", "index", "--sigma", "3"), "--sigma has no effect with --method index"),
        (("segment", "MODEL", "PHOTO", "--side", "border"), "--side has no effect with --method mixtures"),
        (("segment", "MODEL", "PHOTO", "--groups", "3"), "--groups has no effect without --method groups"),
        (("fit", "PHOTO", "--add", "3", "--steps", "0"), "--add has no effect without --steps, on whose way"),
        (("fit", "MODEL", "PHOTO", "--gaussians", "3", "--steps", "0"), "--gaussians has no effect with"),
        (("fit", "MODEL", "PHOTO", "--seed", "3", "--steps", "0"), "--seed has no effect with RUN, unless"),
        (("evaluate", "MODEL", "--data", "LABELLED", "--probes", "linear", "--neighbours", "3", "--draws", "2"),
         "--neighbours has no effect without knn among --probes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_changes_nothing_is_said(
    arguments: tuple[str, ...],
    said: str,
    model: Path,
    photo: Path,
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    places = {"MODEL": model, "PHOTO": photo, "LABELLED": labelled}
    out = tmp_path / ("out.html" if arguments[0] == "view" else "out")
    given = [places.get(each, each) for each in arguments]
    quick = ("--no-controls", "--no-diagnostics") if arguments[0] == "evaluate" else ()
    assert run(*given, "--out", out, "--device", "cpu", *quick) == 0
    assert f"splatlearn: {said}" in capsys.readouterr().err


def test_options_of_labelled_images_beside_masks_alone_are_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splatlearn.evaluation.probes import dense_suite

    quick = dense_suite.SegmentationRecipe(steps=2)
    monkeypatch.setattr(dense_suite, "SegmentationRecipe", lambda: quick)
    for name in ("images", "masks"):
        for number in range(3):
            (tmp_path / "pairs" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.new("L", (24, 16))
            picture.paste(1, (number, 0, 12, 12))
            picture.save(tmp_path / "pairs" / name / f"{number}.png")
    options = ("--pooling", "cls", "--probes", "knn", "--no-controls", "--device", "cpu")
    assert run("evaluate", model, "--segmentation", tmp_path / "pairs", *options) == 0
    assert "--probes" in (told := capsys.readouterr().err) and "no effect without --data" in told


def test_defaults_say_nothing(model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("edges", model, photo, *WINDOWS, "--window", "8", "--out", tmp_path / "out", "--device", "cpu") == 0
    assert run("fit", photo, "--steps", "1", "--seed", "1", "--out", tmp_path / "fit", "--device", "cpu") == 0
    assert "no effect" not in capsys.readouterr().err
