"""What `benchmarks.representation` found, as tables in Markdown, as JSON, and as a picture of the probes by epoch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from splatlearn.evaluation.comparison import Comparison, Run

METHODS = ("mae", "gmae")
COLOURS = {"mae": "#888888", "gmae": "#d1495b"}
CURVES = {"probe_knn": "kNN", "probe_linear": "linear"}


def facts_of(folder: Path) -> dict[str, Any]:
    """What the script noted when a run was done."""
    return json.loads((folder / "done.json").read_text(encoding="utf-8"))


def table(comparison: Comparison, folders: Sequence[Path]) -> str:
    """Each score in both arms and the difference in percent points; below it what the runs cost and paint."""
    lines = [
        f"**{comparison.title}**, {comparison.val_images} validation images",
        "",
        "| probe | MAE | GMAE | GMAE − MAE | |",
        "|---|---|---|---|---|",
    ]
    for row in comparison.rows:
        difference = row.differences[0]
        interval = (
            ""
            if difference.low is None or difference.high is None
            else f" [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
        )
        cells = [_mean(list(values.values())) for values in row.values]
        lines.append(
            f"| {row.key} | {cells[0]} | {cells[1]} | {100 * difference.mean:+.1f}{interval} | {difference.verdict} |"
        )
    for method in METHODS:
        own = [facts_of(folder) for folder in folders if folder.name.startswith(f"{method}-")]
        psnr = [each["masked_psnr_model"] for each in own]
        # 0 where a run was only evaluated when it was taken up again.
        speed = statistics.median([each["images_per_second"] for each in own if each["images_per_second"]] or [0.0])
        spread = f" ± {statistics.stdev(psnr):.2f}" if len(psnr) > 1 else ""
        lines.append("")
        lines.append(
            f"{method.upper()}: {statistics.fmean(psnr):.2f}{spread} dB on hidden pixels (mean of the visible ones: "
            f"{own[0]['masked_psnr_mean']:.2f} dB), {speed:.0f} images/s, {own[0]['steps']} steps"
        )
    return "\n".join(lines)


def controls(runs: Sequence[Run]) -> str:
    """The same probes on random weights and on raw pixels, from the runs that have them."""
    lines = ["| control | " + " | ".join(_CONTROL_KEYS) + " |", "|---" * (len(_CONTROL_KEYS) + 1) + "|"]
    for run in runs:
        for evaluation in run.evaluations:
            for subject in evaluation.subjects:
                if subject.name != "model":
                    scores = {score.key: score.value for score in subject.scores}
                    cells = [f"{100 * scores[key]:.1f}" if key in scores else "" for key in _CONTROL_KEYS]
                    lines.append(f"| {subject.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


_CONTROL_KEYS = ("knn", "linear", "naive Bayes, diagonal", "naive Bayes, shared")


def record(data: str, comparison: Comparison, folders: Sequence[Path]) -> dict[str, Any]:
    """Everything that the tables are made of, run by run."""
    return {
        "data": data,
        "val_images": comparison.val_images,
        "scores": {
            row.key: {method: list(values.values()) for method, values in zip(METHODS, row.values, strict=True)}
            for row in comparison.rows
        },
        "runs": {folder.name: {**facts_of(folder), "curve": curve(folder)} for folder in folders},
    }


def curve(folder: Path) -> list[dict[str, float]]:
    """The probes during a run, by epoch."""
    with (folder / "log.jsonl").open(encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    return [
        {"epoch": each["probe_epoch"], **{name: each[name] for name in CURVES}}
        for each in entries
        if "probe_epoch" in each
    ]


def picture(folders: Mapping[str, Sequence[Path]]) -> Figure:
    """Accuracy by epoch: a row for each data set, a column for each probe, a thin line for each seed, a bold mean."""
    figure = Figure(figsize=(7.5, 2.6 * len(folders)), layout="constrained")
    axes = figure.subplots(len(folders), len(CURVES), squeeze=False)
    for row, (data, runs) in zip(axes, folders.items(), strict=True):
        for axis, (key, name) in zip(row, CURVES.items(), strict=True):
            for method in METHODS:
                curves = [curve(folder) for folder in runs if folder.name.startswith(f"{method}-")]
                epochs = [each["epoch"] for each in curves[0]]
                axis.set_xticks(epochs)
                values = [[100 * each[key] for each in points] for points in curves]
                for line in values:
                    axis.plot(epochs, line, color=COLOURS[method], alpha=0.35, linewidth=0.8)
                middle = [statistics.fmean(at) for at in zip(*values, strict=True)]
                axis.plot(epochs, middle, color=COLOURS[method], linewidth=2, marker="o", label=method.upper())
            axis.set_title(f"{data}, {name}", fontsize=9)
            axis.set_xlabel("epoch", fontsize=8)
            axis.set_ylabel("top-1, %", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.legend(frameon=False, fontsize=8)
    return figure


def _mean(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"
