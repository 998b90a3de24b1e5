"""The report of a reconstruction while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 30.0
"""Seconds between two reports, at least: to draw one takes about a second."""


def reports_on_the_way() -> Callable[[Path], None]:
    """Return what writes the report of a run at its evaluations, from what the run's folder holds, not too often.

    A browser that shows the page loads it anew by itself until the run ends. A report that cannot be written is named
    once on stderr, and ends nothing.
    """
    written, has_failed = -EVERY, False

    def write(folder: Path) -> None:
        nonlocal written, has_failed
        if has_failed or time.monotonic() - written < EVERY:
            return
        written, has_failed = time.monotonic(), not write_or_say(folder, with_views=False, reload_every=EVERY)

    return write


def write_or_say(folder: Path, with_views: bool, reload_every: float | None = None) -> bool:
    """Write the report of a run, or say on stderr why it cannot be written, and return whether it was."""
    from splatlearn.report.scenes.report import write_scene_report

    try:
        write_scene_report(folder, with_views=with_views, reload_every=reload_every)
    except (OSError, ValueError) as error:
        print(f"splatlearn: the report of {folder} was not written: {error}", file=sys.stderr)
        return False
    return True
