"""`splatlearn evaluate RUN --data LABELLED`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from splatlearn.cli.notes import changed, note_left_out, note_unused
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.which_model import described
from splatlearn.cli.written import check_evaluation_folder, is_run
from splatlearn.core.errors import InputError
from splatlearn.data import left_out_of
from splatlearn.data.labelled import Labelled, open_labelled
from splatlearn.device import choose_device, choose_precision
from splatlearn.evaluation import (
    Evaluation,
    EvaluationOptions,
    Extraction,
    evaluate,
    evaluate_segmentation,
    save_evaluation,
)
from splatlearn.evaluation.masked_images import MaskedImages, mask_classes, open_masked_images
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.report import write_page, write_run_report
from splatlearn.report.evaluation import evaluation_sections, few_shot_table, score_table, shown

CACHE_NAME = "features"


@dataclass(frozen=True)
class EvaluationInput:
    """What is evaluated on, and where the results go."""

    data: str | None = None
    """Labelled images: a folder class/*.jpg, with train and val above or without, a parquet file, a Hub name.
    Default: none, where --segmentation is given."""
    image_column: str | None = None
    """Column with the images of parquet or Hub data. Default: found by its type."""
    label_column: str | None = None
    """Column with the labels of parquet or Hub data, numbers or text. Default: found by its type or name."""
    segmentation: str | None = None
    """Folder with images/NAME.jpg and masks/NAME.png (class numbers, 255 for void): a segmentation probe on tokens.
    Default: none."""
    out: str | None = None
    """Folder of evaluation.json and the report. Default: RUN."""
    cache: str | None = None
    """Folder that keeps features for the next time. Default: "features" in the folder of the results."""


@dataclass(frozen=True)
class Machine:
    """Where it is computed."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto takes bf16 where the device multiplies it natively, else fp32."""
    batch_size: int = 64
    """Images of one forward pass."""
    workers: int | None = None
    """Threads that decode and crop. Default: one on a CPU run, as many as cores (at most 16) beside a GPU."""
    max_unreadable: float = 0.05
    """Unreadable images are left out and named; above this share it stops."""

    def extraction(self) -> Extraction:
        """The same with what "auto" stands for on this machine."""
        device = choose_device(self.device)
        precision = "bf16" if choose_precision(self.precision, device) == "bf16" else "fp32"
        workers = self.workers if self.workers is not None else _workers(device)
        return Extraction(self.batch_size, device, precision, workers, self.max_unreadable)


def evaluate_command(
    run: tyro.conf.Positional[str],
    data: Annotated[EvaluationInput, tyro.conf.arg(name="")] = EvaluationInput(),
    options: Annotated[EvaluationOptions, tyro.conf.arg(name="")] = EvaluationOptions(),  # noqa: B008
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine(),
) -> int:
    """Probe what a pre-trained model's features know about labelled images, and put it into the run's report.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id.
    """
    if data.data is None and data.segmentation is None:
        raise InputError("data: expected labelled images (--data) or images with masks (--segmentation), got neither")
    out = _folder(run, data.out)
    check_evaluation_folder(out, own=data.out is None)
    extraction = machine.extraction()
    model = load_model(run, extraction.device)
    labelled = None if data.data is None else open_labelled(data.data, data.image_column, data.label_column)
    masked = None if data.segmentation is None else open_masked_images(data.segmentation)
    _note_unused(data, options)
    if labelled is not None:
        note_left_out(data.data or "", left_out_of(labelled.train, labelled.val))
    if masked is not None:
        note_left_out(data.segmentation or "", left_out_of(masked))
    if labelled is not None and masked is not None:
        # What is wrong with the masks is told before the other evaluation takes its time.
        with progress_bar() as told:
            mask_classes(masked, told)
    cache = out / CACHE_NAME if data.cache is None else Path(data.cache)
    for evaluation in _evaluations(model, labelled, masked, options, extraction, cache):
        save_evaluation(out, evaluation)
        _print(evaluation)
    print(f"done: {out / 'evaluation.json'}, {_report(out)}; model: {described(run)}")
    return 0


OPTIONS_OF = {
    "knn": ("neighbours", "temperature"),
    "linear": ("linear",),
    "few-shot": ("shots", "shares", "draws"),
}
"""Options that one probe alone has."""
OF_IMAGES = ("probes", "pooling", "block", "diagnostics", *(name for names in OPTIONS_OF.values() for name in names))
"""Options that labelled images alone have."""


def _note_unused(data: EvaluationInput, options: EvaluationOptions) -> None:
    if data.data is None:
        given = changed(data, "image_column", "label_column", "cache") | changed(options, *OF_IMAGES)
        note_unused(given, "without --data: the segmentation probe has a recipe of its own")
        return
    for probe, names in OPTIONS_OF.items():
        if probe not in options.probes:
            note_unused(changed(options, *names), f"without {probe} among --probes")


def _evaluations(
    model: MAE | GMAE,
    labelled: Labelled | None,
    masked: MaskedImages | None,
    options: EvaluationOptions,
    extraction: Extraction,
    cache: Path,
) -> Iterator[Evaluation]:
    if labelled is not None:
        with progress_bar() as told:
            evaluation = evaluate(model, labelled, options, extraction, cache, told)
        yield evaluation
    if masked is not None:
        with progress_bar() as told:
            evaluation = evaluate_segmentation(model, masked, options.controls, extraction=extraction, progress=told)
        yield evaluation


def _folder(run: str, out: str | None) -> Path:
    if out is not None:
        return Path(out)
    if not Path(run).exists():
        raise InputError(
            f"out: expected a folder for the results of {run}, which is no folder on this machine, got none; "
            "name one with --out"
        )
    return Path(run)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table whose rows are lines, however narrow the terminal is."""
    table = Table(*columns, box=None, pad_edge=False, title=title, title_justify="left", title_style="")
    for row in rows:
        table.add_row(*("–" if cell is None else str(cell) for cell in row))
    console = Console()
    wanted = Measurement.get(console, console.options.update(width=10_000), table).maximum
    Console(width=max(wanted, len(title))).print(table, highlight=False, markup=False)


def _print(evaluation: Evaluation) -> None:
    for table in (score_table(evaluation), few_shot_table(evaluation)):
        if table.rows:
            print_table(f"{evaluation.title}, percent", table.columns, table.rows)
            print()
    console = Console(soft_wrap=True)
    console.print(f"chance {shown(evaluation.chance)} %", highlight=False)
    if evaluation.unreadable:
        name, reason = next(iter(evaluation.unreadable.items()))
        console.print(
            f"left out {len(evaluation.unreadable)} unreadable images, {name} ({reason}) for one",
            highlight=False, markup=False,
        )  # fmt: skip


def _report(out: Path) -> Path:
    """The run's report, or a page of its own where the folder is no run's."""
    if is_run(out):
        return write_run_report(out)
    return write_page(out / "evaluation.html", f"splatlearn evaluate {out.name}", "", evaluation_sections(out))


def _workers(device: torch.device) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores) if device.type == "cuda" else 1
