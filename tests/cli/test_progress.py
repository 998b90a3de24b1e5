"""Progress: a bar on a terminal, lines elsewhere, in every command in which a person waits."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from rich.console import Console

from cli.commands import run
from data.pictures import save
from splatlearn.cli import progress
from splatlearn.cli.progress import progress_bar
from splatlearn.evaluation.features.extraction import Features
from splatlearn.evaluation.probes import dense_suite
from splatlearn.evaluation.probes.dense import SegmentationRecipe
from splatlearn.evaluation.probes.linear import LarsRecipe, lars_scores


@pytest.fixture
def every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print every line instead of one now and then."""
    monkeypatch.setattr(progress, "FIRST_LINE", -1.0)
    monkeypatch.setattr(progress, "NEXT_LINE", -1.0)


def test_lines_come_after_a_while_and_seldom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar() as told:
        for second in range(70):
            now[0] = 100.0 + second
            told("fit", second / 10, 7, f"step {second}")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "fit: 0 of 7, step 5"
    assert rest == ["fit: 3 of 7, step 35", "fit: 6 of 7, step 65"]


def test_a_quick_command_prints_nothing(capsys: pytest.CaptureFixture) -> None:
    with progress_bar() as told:
        told("edges", 0, 2)
        told("edges", 2, 2)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()

    def console(**options: object) -> Console:
        return Console(file=screen, force_terminal=True, width=100)

    monkeypatch.setattr(progress, "Console", console)
    with progress_bar() as told:
        told("features", 3, 40)
        told("edges", 1.5, 4, "windows 2 of 8")
    shown = screen.getvalue()
    assert "edges" in shown and "1/4, windows 2 of 8" in shown


def lines(told: str, what: str) -> list[tuple[int, int]]:
    """The numbers of the lines about a thing, which never fall."""
    found = [(int(done), int(of)) for done, of in re.findall(rf"^{what}: (\d+) of (\d+)", told, re.MULTILINE)]
    assert found == sorted(found) and all(done <= of for done, of in found)
    return found


@pytest.mark.parametrize(
    ("command", "what"), [("edges", "edges"), ("layers", "layers"), ("segment", "figure and ground"), ("view", "view")]
)
@pytest.mark.usefixtures("every_line")
def test_windows_and_steps_are_told(
    command: str, what: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number in range(2):
        save(tmp_path / "album" / f"{number}.png", number, 20, 31)
    out = tmp_path / ("out.html" if command == "view" else "out")
    options = ("--sizing", "windows", "--window", "8", "--fit-steps", "3", "--device", "cpu", "--batch-size", "1")
    assert run(command, model, tmp_path / "album", "--out", out, *options) == 0
    told = capsys.readouterr().err
    assert lines(told, what)[-1][1] == 2
    assert re.search(rf"^{what}: 0 of 2, windows 1 of \d+$", told, re.MULTILINE)
    assert f"{what}: 0 of 2, steps 2 of 3" in told and f"{what}: 1 of 2, steps 2 of 3" in told


@pytest.mark.usefixtures("every_line")
def test_steps_of_a_fit_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(2):
        save(tmp_path / "album" / f"{number}.png", number)
    options = ("--steps", "4", "--gaussians", "5", "--device", "cpu")
    assert run("fit", tmp_path / "album", "--out", tmp_path / "out", *options) == 0
    told = capsys.readouterr().err
    assert [line for line in told.splitlines() if line.startswith("fit: ")] == [
        f"fit: {image + (step == 4)} of 2, step {step} of 4" for image in range(2) for step in range(5)
    ]


@pytest.mark.usefixtures("every_line")
def test_packing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(3):
        save(tmp_path / "album" / f"{number}.png", number)
    assert run("pack", tmp_path / "album", "--out", tmp_path / "out") == 0
    assert lines(capsys.readouterr().err, "packing")[-1] == (3, 3)


@pytest.mark.usefixtures("every_line")
def test_evaluation_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = SegmentationRecipe(steps=5)
    monkeypatch.setattr(dense_suite, "SegmentationRecipe", lambda: quick)
    for label in ("a", "b"):
        for number in range(8):
            save(tmp_path / "data" / label / f"{number}.png", number + 10 * (label == "b"))
    for name in ("images", "masks"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "pairs" / name / f"{number}.png")
    options = ("--no-controls", "--no-diagnostics", "--device", "cpu", "--precision", "fp32", "--shots", "1")
    both = ("--data", tmp_path / "data", "--segmentation", tmp_path / "pairs")
    assert run("evaluate", model, *both, *options) == 0
    told = capsys.readouterr().err
    assert "features: 12 of 12\n" in told and len(lines(told, "model: linear")) == 7
    assert "masks: 2 of 3\n" in told and "token maps: 2 of 2\n" in told
    assert lines(told, "model: segmentation")[-1] == (4, 5)


def test_epochs_of_the_recipe_with_lars_are_told() -> None:
    values, labels = torch.randn(6, 4), torch.tensor([0, 1] * 3)
    told: list[tuple[int, int]] = []
    lars_scores(Features(values, labels, values, labels, ("a", "b")), LarsRecipe(epochs=3), lambda *at: told.append(at))
    assert told == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.usefixtures("every_line")
def test_benchmarks_are_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    annotation = np.empty((1, 1), dtype=object)
    annotation[0, 0] = {"Boundaries": np.eye(16, dtype=np.uint8)}
    (tmp_path / "data" / "groundTruth" / "test").mkdir(parents=True)
    for number in range(2):
        save(tmp_path / "data" / "images" / "test" / f"{number}.png", number, 16, 16)
        scipy.io.savemat(tmp_path / "data" / "groundTruth" / "test" / f"{number}.mat", {"groundTruth": annotation})
        save(tmp_path / "data" / "figures" / "images" / f"{number}.png", number, 16, 16)
        (tmp_path / "data" / "figures" / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "data" / "figures" / "masks" / f"{number}.png")
    options = ("--processes", "1", "--device", "cpu", "--thresholds", "3", "--baselines", "no")
    assert run("benchmark", "bsds500", model, "--data", tmp_path / "data", *options) == 0
    assert len(lines(capsys.readouterr().err, "edges")) == 2
    assert run("benchmark", "figure-ground", model, "--data", tmp_path / "data" / "figures", *options) == 0
    assert lines(capsys.readouterr().err, "figures")[-1] == (2, 2)
