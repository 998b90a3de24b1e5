"""Commands in this process, and training whose steps and pages take no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import splatlearn.report
from splatlearn.cli import main
from splatlearn.models import presets
from training.two_trainers import SMALL


def run(*arguments: object) -> int:
    """Run a command as a person types it; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return int(stop.value.code or 0)


@contextmanager
def quick_training() -> Iterator[None]:
    """Inside, the small encoders by name are smaller still, and the report of a run is a line."""

    def write(folder: Path) -> Path:
        (folder / "report.html").write_text("the report")
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        for size in ("micro", "tiny"):
            patch.setitem(presets.ENCODERS, size, SMALL)
        patch.setattr(splatlearn.report, "write_run_report", write)
        yield
