"""Writing the report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splatlearn.core.typed import read_as
from splatlearn.report.evaluation import evaluation_sections
from splatlearn.report.parts.page import Section, write_page
from splatlearn.report.run_report import Environment, run_sections


def write_run_report(run_dir: str | Path, pictures: Sequence[Section] = (), out: str | Path | None = None) -> Path:
    """Write the report of a run from what lies in its folder, also while it is training; returns its path.

    `pictures`: sections that come first, then evaluations that lie there. `out`: the page, by default `report.html` in
    the folder. Raises FileNotFoundError when there is no such folder.
    """
    folder = Path(run_dir)
    facts = read_as(Environment, folder / "environment.json", extra=True, needed=False)
    sections = [
        *pictures,
        *evaluation_sections(folder),
        *run_sections(folder, facts.command, facts.versions),
    ]
    name = folder.resolve().name
    target = folder / "report.html" if out is None else Path(out)
    return write_page(target, f"splatlearn run {name}", f"What the run in {name} did so far.", sections)
