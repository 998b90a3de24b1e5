"""Sections about a pre-training run, from what lies in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatlearn.core.disk.atomic import parse_object, read_object
from splatlearn.core.errors import FormatError, MissingError
from splatlearn.core.typed import flat
from splatlearn.report.parts.curves import loss_curve, small_multiples
from splatlearn.report.parts.page import Block, Code, Figure, KeyValues, Section

CURVES = {
    "learning_rate": "learning rate",
    "images_per_second": "images per second",
    "data_wait": "share of time waiting for data",
    "probe_knn": "kNN accuracy on held-out images",
    "probe_linear": "linear-probe accuracy on held-out images",
    "validation_top1": "top-1 on validation images",
    "grad_norm": "norm of the gradient, before clipping",
}
"""Keys of the log that are drawn beside the loss, with the names to show."""
LEFT_OUT = ("step", "epoch", "loss", "validation_loss")
"""Keys that are no curve, or have a picture of their own."""
MOST_MEASURES = 12
"""How many quantities are drawn that a log has beside those."""
TERM = "loss_"
"""What the names of an objective's terms begin with; they are drawn too, where there are several."""
STEP_KEYS = ("step", "step_of_status")
"""Keys that say which step a line of the log is about: training steps, and reports on the run in between."""


@dataclass(frozen=True)
class Environment:
    """What is read of an `environment.json`: the command of a run, and versions by package."""

    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a `log.jsonl`, one JSON object a line.

    A last line without its end, as a run that is writing or was killed leaves it, is passed over, and so are empty
    lines. Raises InputError naming any other line that is not a JSON object.
    """
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    lines = text.split("\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = parse_object(line, f"{path}, line {number}")
        except FormatError as error:
            if number == len(lines):
                break
            raise FormatError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}") from error
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
        raise MissingError(f"run_dir: expected the folder of a run, got {str(run_dir)!r}, which is not a folder")
    log, recipe = folder / "log.jsonl", folder / "recipe.json"
    choices = flat(read_object(recipe))
    sections = [_training(read_log(log) if log.exists() else [], choices.get("optimizer.epochs"))]
    if choices:
        sections.append(Section("Recipe", "Every choice that fixes the run.", [KeyValues(choices)]))
    repeat: list[Block] = [Code(command)] if command else []
    if versions:
        repeat.append(KeyValues(versions))
    if repeat:
        sections.append(Section("Repeat it", "The command of the run, and the versions it ran on.", repeat))
    return sections


def _training(entries: list[dict[str, Any]], epochs: object = None) -> Section:
    lines = _last_of_each_step(entries, "loss")
    losses = _series(lines, "loss")
    if not np.isfinite(losses).any():
        return Section("Training", "No step has been logged yet.")
    steps = np.array([line["step"] for line in lines], dtype=np.float64)
    checked = _last_of_each_step(entries, "validation_loss")
    validation = ([line["step"] for line in checked], _series(checked, "validation_loss")) if checked else None
    known = losses[np.isfinite(losses)]
    summary: dict[str, object] = {
        "Steps": _progress(lines[-1], epochs),
        "Last loss": float(known[-1]),
        "Best loss": float(known.min()),
    }
    terms = {key: f"term of the loss: {key.removeprefix(TERM)}" for line in lines for key in line if _is_term(key)}
    curves = {shown: _curve(entries, key) for key, shown in {**terms, **CURVES}.items()}
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
    measures = {key: _curve(entries, key) for key in _measures(lines)}
    for group in (curves, measures):
        if group:
            caption = f"Over the same steps: {', '.join(group)}."
            blocks.append(Figure(small_multiples(group), alt=caption, caption=caption))
    return Section("Training", "How the loss fell, and how fast the run was.", blocks)


def _progress(last: Mapping[str, Any], epochs: object) -> int | str:
    """The last step and, where the log and the recipe tell, how many there will be."""
    step, epoch = int(last["step"]), last.get("epoch")
    if not isinstance(epochs, int | float) or not epoch:
        return step
    # A line says how many epochs lay behind its step.
    total = round(round((step - 1) / epoch) * epochs)
    return f"{step:,} of {total:,} ({step / total:.0%})" if step < total else f"{step:,}, all of them"


def _is_term(key: str) -> bool:
    return key.startswith(TERM) and len(key) > len(TERM)


def _measures(lines: list[dict[str, Any]]) -> list[str]:
    """What else the lines of training steps measure, by its names in the log."""
    named = dict.fromkeys(key for line in lines for key, value in line.items() if isinstance(value, int | float))
    return [key for key in named if key not in (*CURVES, *LEFT_OUT) and not _is_term(key)][:MOST_MEASURES]


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
