"""Sections about a pre-training run, from what lies in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatlearn.report.curves import loss_curve, small_multiples
from splatlearn.report.page import Block, Code, Figure, KeyValues, Section

CURVES = {
    "learning_rate": "learning rate",
    "images_per_second": "images per second",
    "data_wait": "share of time waiting for data",
    "probe_knn": "kNN accuracy on held-out images",
    "probe_linear": "linear-probe accuracy on held-out images",
    "validation_top1": "top-1 on validation images",
}
"""Keys of the log that are drawn beside the loss, with the names to show."""
STEP_KEYS = ("step", "step_of_status")
"""Keys that say which step a line of the log is about: training steps, and reports on the run in between."""


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a `log.jsonl`, one JSON object a line.

    A last line without its end, as a run that is writing or was killed leaves it, is passed over, and so are empty
    lines. Raises ValueError naming any other line that is not a JSON object.
    """
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    lines = text.split("\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}") from error
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
        entries.append(entry)
    return entries


def run_sections(
    run_dir: str | Path, command: str | None = None, versions: Mapping[str, object] | None = None
) -> list[Section]:
    """Sections about the run in a folder: how it trained, its recipe, and how to repeat it.

    `log.jsonl` and `recipe.json` are used where they exist; a run that has no finished step yet says so. Of several
    log entries of one step, as an interrupted run may leave, the last counts. `validation_loss` is drawn where the log
    has it, and the quantities of `CURVES` from lines of training steps or of `step_of_status`.

    - `command`: the command line that started the run.
    - `versions`: names and versions of what it ran on.

    Raises FileNotFoundError when there is no such folder.
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"run_dir: expected the folder of a run, got {str(run_dir)!r}, which is not a folder")
    log = folder / "log.jsonl"
    sections = [_training(read_log(log) if log.exists() else [])]
    recipe = folder / "recipe.json"
    if recipe.exists():
        values = _flat(json.loads(recipe.read_text(encoding="utf-8")))
        sections.append(Section("Recipe", "Every choice that fixes the run.", [KeyValues(values)]))
    repeat: list[Block] = [Code(command)] if command else []
    if versions:
        repeat.append(KeyValues(versions))
    if repeat:
        sections.append(Section("Repeat it", "The command of the run, and the versions it ran on.", repeat))
    return sections


def _training(entries: list[dict[str, Any]]) -> Section:
    lines = _last_of_each_step(entries, "loss")
    losses = _series(lines, "loss")
    if not np.isfinite(losses).any():
        return Section("Training", "No step has been logged yet.")
    steps = np.array([line["step"] for line in lines], dtype=np.float64)
    checked = _last_of_each_step(entries, "validation_loss")
    validation = ([line["step"] for line in checked], _series(checked, "validation_loss")) if checked else None
    known = losses[np.isfinite(losses)]
    summary: dict[str, object] = {
        "Steps": int(steps[-1]),
        "Last loss": float(known[-1]),
        "Best loss": float(known.min()),
    }
    curves = {shown: _curve(entries, key) for key, shown in CURVES.items()}
    curves = {shown: curve for shown, curve in curves.items() if len(curve[1])}
    if CURVES["images_per_second"] in curves:
        summary["Images per second (median)"] = float(np.median(curves[CURVES["images_per_second"]][1]))
    if CURVES["data_wait"] in curves:
        summary["Time spent waiting for data"] = f"{100 * float(np.mean(curves[CURVES['data_wait']][1])):.1f} %"
    blocks: list[Block] = [
        KeyValues(summary),
        Figure(
            loss_curve(steps, losses, validation),
            alt=f"Loss over {int(steps[-1])} steps, ending at {known[-1]:.4g}",
            caption="Loss of the objective. Pale: each step; full: its mean over the neighbouring steps.",
        ),
    ]
    if curves:
        caption = f"Over the same steps: {', '.join(curves)}."
        blocks.append(Figure(small_multiples(curves), alt=caption, caption=caption))
    return Section("Training", "How the loss fell, and how fast the run was.", blocks)


def _last_of_each_step(entries: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    by_step = {entry["step"]: entry for entry in entries if key in entry and "step" in entry}
    return [by_step[step] for step in sorted(by_step)]


def _curve(entries: list[dict[str, Any]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps of which the log knows a quantity, and its numbers; the last word on a step counts."""
    known = {
        entry[step_key]: entry[key]
        for entry in entries
        for step_key in STEP_KEYS
        if step_key in entry and entry.get(key) is not None
    }
    steps = sorted(known)
    return np.array(steps, dtype=np.float64), np.array([known[step] for step in steps], dtype=np.float64)


def _series(lines: list[dict[str, Any]], key: str) -> NDArray[np.float64]:
    """The numbers under a key, NaN where there is none."""
    values = [line.get(key) for line in lines]
    return np.array([float("nan") if value is None else value for value in values], dtype=np.float64)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
