"""The log of a run: `log.jsonl`, the numbers for trackers, and a progress bar."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from splatlearn.core.disk.atomic import parse_object, write_whole
from splatlearn.core.errors import FormatError
from splatlearn.runs.folder import LOG, RunFolder, RunFolderError

PROJECT = "splatlearn"
"""Name of the project in trackers; TensorBoard's files lie in a folder of that name in the run's folder."""
QUIET_SECONDS = 30.0
"""Seconds between printed lines of progress if there is no terminal."""


class LogError(FormatError):
    """The log of a run cannot be written."""


@runtime_checkable
class Trackers(Protocol):
    """A tracker that receives the numbers of a log too."""

    def start(self, project: str, step: int) -> None:
        """Open the trackers at a step."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Write the numbers of a step."""

    def finish(self) -> None:
        """Close the trackers."""


def note(text: str) -> None:
    """Print a sentence for the person at the terminal before the run has a log."""
    Console(stderr=True, soft_wrap=True).print(text, highlight=False, markup=False)


class Logbook:
    """Writes one JSON object a line, mirrors numbers to trackers, and shows progress; only on the main process.

    - `folder`: of the run; `step`: from which it goes on, of `total`.
    - `main`: whether this is the main process; in others nothing is written.
    - `trackers`: where numbers of steps go too.
    """

    def __init__(
        self, folder: Path, step: int, total: int, main: bool = True, trackers: Trackers | None = None
    ) -> None:
        self._trackers = trackers
        self._main = main
        self._file: IO[str] | None = None
        self._console = Console(stderr=True, soft_wrap=True)
        self._progress: Progress | None = None
        self._printed = time.monotonic()
        self._total = total
        self._path = folder / LOG
        self.last_loss = math.nan  # of the last step that is in the log already
        if self._main:
            with self._told():
                self.last_loss = _keep_until(self._path, step)
                self._file = self._path.open("a+", encoding="utf-8")
            if self._trackers is not None:
                self._trackers.start(PROJECT, step)
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
        if "step" in entry and numbers and self._trackers is not None:
            self._trackers.log(numbers, entry["step"])

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

    def lost(self) -> bool:
        """Whether the file that is written to is no longer the one in the folder."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return True

    def follow(self, folder: Path) -> None:
        """Write the whole log into another folder, and continue there."""
        assert self._file is not None
        text = ""
        # Some network file systems do not give back what was removed.
        with suppress(OSError):
            self._file.flush()
            self._file.seek(0)
            text = self._file.read()
        self._path = folder / LOG
        with self._told():
            write_whole(self._path, text)
            self._file.close()
            self._file = self._path.open("a+", encoding="utf-8")

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

    def advance(self, step: int) -> None:
        """Move the progress bar, at every step; nothing is written."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

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
        if self._main and self._trackers is not None:
            self._trackers.finish()
        sys.stderr.flush()


def _plain(value: Any) -> Any:
    # JSON has no NaN; readers of other languages stumble over it.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def restore(folder: RunFolder, logbook: Logbook) -> Path | None:
    """Write anew what others removed of a run's folder and its log; returns where it is now, None if all was there.

    Raises RunFolderError or LogError where that cannot be written.
    """
    removed = folder.removed()
    if not removed and not logbook.lost():
        return None
    place = folder.path
    try:
        if removed:
            folder.restore()
        if logbook.lost() or folder.path != place:
            logbook.follow(folder.path)
    except OSError as error:
        raise RunFolderError(
            f"out: {place} was removed while the run trained, and cannot be written anew: {error.strerror or error}"
        ) from error
    if folder.path == place:
        logbook.say(f"{', '.join(removed or [LOG])} of {place} was removed while the run trains, and is written anew")
    return folder.path


def _keep_until(path: Path, step: int) -> float:
    """Drop the log of steps that will be done again, and a torn last line; returns the loss of the last that stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    kept, loss = [], None
    for line in text.splitlines():
        try:
            entry = parse_object(line, str(path))
        except FormatError:
            continue
        number = entry.get("step", entry.get("step_of_status", 0))
        if isinstance(number, int | float) and number <= step:
            kept.append(line)
            loss = entry.get("loss", loss)
    lasting = "".join(line + "\n" for line in kept)
    if lasting != text:
        write_whole(path, lasting)
    return math.nan if loss is None else loss
