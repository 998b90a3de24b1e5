"""The log of a run: one JSON object a line, cut back where the run goes on, and told where it cannot be written."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from splatlearn.runs.log import Logbook, LogError


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def logged(folder: Path, steps: int) -> None:
    """A log of some steps, each with a loss."""
    book = Logbook(folder, 0, 10)
    for step in range(1, steps + 1):
        book.write({"step": step, "loss": 1.0 / step})
    book.close()


class Noted:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def start(self, project: str, step: int) -> None:
        self.told.append(("start", project, step))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.told.append((dict(numbers), step))

    def finish(self) -> None:
        self.told.append(("finish",))


def test_a_line_an_entry_and_numbers_of_steps_for_trackers(tmp_path: Path) -> None:
    noted = Noted()
    book = Logbook(tmp_path, 2, 10, trackers=noted)
    book.write({"step": 3, "loss": math.inf, "rate": 0.5, "note": "text"})
    book.write({"unreadable": "a.jpg"})
    book.flush(3, "")
    # NaN and infinity are no JSON.
    assert entries(tmp_path) == [{"step": 3, "loss": None, "rate": 0.5, "note": "text"}, {"unreadable": "a.jpg"}]
    book.close()
    assert noted.told == [("start", "splatlearn", 2), ({"loss": math.inf, "rate": 0.5}, 3), ("finish",)]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    noted = Noted()
    book = Logbook(tmp_path, 0, 10, main=False, trackers=noted)
    book.write({"step": 1, "loss": 1.0})
    book.flush(1, "")
    book.close()
    assert not noted.told and not list(tmp_path.iterdir()) and not book.lost()


@pytest.mark.parametrize("tail", ["", '{"step": 4, "lo', "[]\n", "nonsense\n"])
def test_steps_that_are_done_again_and_a_torn_line_leave_it(tmp_path: Path, tail: str) -> None:
    logged(tmp_path, 4)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(tail)
    book = Logbook(tmp_path, 2, 10)
    assert [entry["step"] for entry in entries(tmp_path)] == [1, 2] and book.last_loss == 0.5
    book.write({"step": 3, "loss": 7.0})
    book.close()
    assert [entry["loss"] for entry in entries(tmp_path)] == [1.0, 0.5, 7.0]


def test_a_whole_log_is_not_written_again(tmp_path: Path) -> None:
    logged(tmp_path, 4)
    before = (tmp_path / "log.jsonl").stat().st_ino
    Logbook(tmp_path, 4, 10).close()
    assert (tmp_path / "log.jsonl").stat().st_ino == before


def test_it_follows_into_another_folder_with_all_that_was_said(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    book = Logbook(first, 0, 10)
    book.write({"step": 1})
    assert not book.lost()
    (first / "log.jsonl").unlink()
    assert book.lost()
    book.follow(second)
    assert not book.lost()
    book.write({"step": 2})
    book.close()
    assert [entry["step"] for entry in entries(second)] == [1, 2] and not list(first.iterdir())


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(LogError, match=r"out: cannot write .*log\.jsonl: .*; the checkpoints are as they were"):
        Logbook(tmp_path, 0, 10)


def test_a_quiet_terminal_hears_of_progress_now_and_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("splatlearn.runs.log.time.monotonic", lambda: now[0])
    book = Logbook(tmp_path, 0, 10)
    for step, now[0] in ((1, 5.0), (2, 31.0), (3, 32.0), (4, 62.0)):
        book.flush(step, "loss 1")
    book.close()
    assert capsys.readouterr().err.splitlines() == ["step 2/10 · loss 1", "step 4/10 · loss 1"]
