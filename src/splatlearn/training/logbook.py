"""What a run writes down: `log.jsonl`, accelerate's trackers, and a progress bar."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from splatlearn.core.atomic import parse_object, write_whole
from splatlearn.core.errors import FormatError

QUIET_SECONDS = 30.0
"""Where there is no terminal, a line of progress is printed this often."""


class LogError(FormatError):
    """The log of a run cannot be written."""


class Logbook:
    """Writes one JSON object a line, mirrors numbers to trackers, and shows progress; only on the main process."""

    def __init__(self, folder: Path, accelerator: Accelerator, step: int, total: int) -> None:
        self._accelerator = accelerator
        self._main = accelerator.is_main_process
        self._file: IO[str] | None = None
        self._console = Console(stderr=True, soft_wrap=True)
        self._progress: Progress | None = None
        self._printed = time.monotonic()
        self._total = total
        self._path = folder / "log.jsonl"
        if self._main:
            with self._told():
                _keep_until(self._path, step)
                self._file = self._path.open("a")
            self._start_progress(step)

    def _start_progress(self, step: int) -> None:
        if not self._console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=self._console)
        self._progress.start()
        self._task = self._progress.add_task("steps", total=self._total, completed=step, note="")

    def write(self, entry: dict[str, Any]) -> None:
        """Append an entry; numbers of entries with a step go to the trackers too."""
        if self._file is None:
            return
        with self._told():
            self._file.write(json.dumps({key: _plain(value) for key, value in entry.items()}) + "\n")
        numbers = {key: value for key, value in entry.items() if isinstance(value, int | float) and key != "step"}
        if "step" in entry and numbers and self._accelerator.trackers:
            self._accelerator.log(numbers, step=entry["step"])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Inside, a disk that takes no more is a sentence about what to do."""
        try:
            yield
        except OSError as error:
            raise LogError(
                f"out: cannot write {self._path}: {error.strerror or error}; the checkpoints are as they were. Make "
                "room, or let the folder be written, and --resume"
            ) from error

    def flush(self, step: int, note: str) -> None:
        """Make what was written visible to readers, and move the progress bar."""
        if self._file is None:
            return
        with self._told():
            self._file.flush()
        if self._progress is not None:
            self._progress.update(self._task, completed=step, note=note)
        elif time.monotonic() - self._printed > QUIET_SECONDS:
            self.say(f"step {step}/{self._total} · {note}")
            self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """Print a sentence for the person at the terminal."""
        if self._main:
            self._console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Close the file, the bar and the trackers."""
        if self._progress is not None:
            self._progress.stop()
        if self._file is not None:
            # What cannot be written now could not before, which was said then.
            with suppress(OSError):
                self._file.close()
            self._file = None
        # Accelerate's own end of training would part the processes too, which may have another run to do.
        for tracker in self._accelerator.trackers:
            tracker.finish()
        sys.stderr.flush()


def _plain(value: Any) -> Any:
    # JSON has no NaN; readers of other languages stumble over it.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keep_until(path: Path, step: int) -> None:
    """Drop the log of steps that will be done again, and a torn last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            entry = parse_object(line, str(path))
        except FormatError:
            continue
        number = entry.get("step", entry.get("step_of_status", 0))
        if isinstance(number, int | float) and number <= step:
            kept.append(line)
    write_whole(path, "".join(line + "\n" for line in kept))
