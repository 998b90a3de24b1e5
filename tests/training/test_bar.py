"""What a person at the terminal sees of a run: a bar that moves at every step, and what Ctrl-C does."""

import signal
from pathlib import Path
from typing import Any

import pytest

from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.runs.log import Logbook
from splatlearn.training import pretrain
from splatlearn.training.loop import engine
from training.small_run import pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    step = engine.TrainingLoop._train_step

    def hooked(self: engine.TrainingLoop, *arguments: Any) -> None:
        if self.step == number:
            action()
        step(self, *arguments)

    monkeypatch.setattr(engine.TrainingLoop, "_train_step", hooked)


def test_the_bar_moves_at_every_step_however_rarely_the_log_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    advance, shown = Logbook.advance, []

    def noted(self: Logbook, step: int) -> None:
        advance(self, step)
        assert self._progress is not None
        shown.append(self._progress.tasks[0].completed)

    monkeypatch.setattr(Logbook, "advance", noted)
    pretrain(small_recipe(tmp_path / "run", log_every=1000), pictures())
    assert shown == list(range(1, 10))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    at_step(monkeypatch, 4, lambda: signal.raise_signal(number))
    result = pretrain(small_recipe(tmp_path / "run"), pictures())
    assert (result.steps, result.interrupted) == (5, True)
    said = " ".join(capsys.readouterr().err.split())
    assert "stopping: step 5 is being finished and a checkpoint written" in said
    assert ("Ctrl-C again stops at once" in said) == (number == signal.SIGINT)
    assert checkpoint_folders(tmp_path / "run")[-1].name == "step-00000005"


def test_nothing_is_said_without_a_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(small_recipe(tmp_path / "run"), pictures())
    assert "stopping" not in capsys.readouterr().err
