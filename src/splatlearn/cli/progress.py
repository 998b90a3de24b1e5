"""How far a command is: a bar on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

FIRST_LINE = 5.0
"""Seconds after which the first line is printed where there is no terminal."""
NEXT_LINE = 30.0
"""Seconds between two lines."""


@runtime_checkable
class Told(Protocol):
    """Takes what is being done, how much of it is done, how much there is, and perhaps what is at hand.

    Parts of one piece are told as fractions.
    """

    def __call__(self, what: str, done: float, total: int, detail: str = "") -> None: ...


@contextmanager
def progress_bar() -> Iterator[Told]:
    """A bar on stderr that shows what it is told; where that is no terminal, a line after a while and now and then."""
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("start", total=None, count="")

        def told(what: str, done: float, total: int, detail: str = "") -> None:
            if progress.tasks[0].description != what:
                progress.reset(task, description=what, total=total)
            count = f"{int(done)}/{total}" + (f", {detail}" if detail else "")
            progress.update(task, completed=done, total=total, count=count)

        yield told


class _Lines:
    """Prints what it is told as lines, seldom."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = time.monotonic() + FIRST_LINE

    def __call__(self, what: str, done: float, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + NEXT_LINE
        at_hand = f", {detail}" if detail else ""
        self._console.print(f"{what}: {int(done)} of {total}{at_hand}", highlight=False, markup=False)
