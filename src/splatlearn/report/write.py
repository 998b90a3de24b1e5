"""Writing the report of a run."""

from __future__ import annotations

import json
from pathlib import Path

from splatlearn.report.evaluation import evaluation_sections
from splatlearn.report.page import write_page
from splatlearn.report.run_report import run_sections


def write_run_report(run_dir: str | Path) -> Path:
    """Write `report.html` into a run's folder from what lies there, also while it is training; returns its path.

    Evaluations that lie there come first. Raises FileNotFoundError when there is no such folder.
    """
    folder = Path(run_dir)
    environment = folder / "environment.json"
    facts = json.loads(environment.read_text()) if environment.exists() else {}
    sections = [
        *evaluation_sections(folder),
        *run_sections(folder, facts.get("command"), facts.get("versions")),
    ]
    lead = f"What the run in {folder.name} did so far."
    return write_page(folder / "report.html", f"splatlearn run {folder.name}", lead, sections)
