"""What `splatlearn evaluate` does and prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from splatlearn.cli.choices import Machine
from splatlearn.cli.notes import note
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.written import is_run
from splatlearn.core.device import choose_device, choose_precision, reading_workers
from splatlearn.core.errors import InputError
from splatlearn.data import Labelled
from splatlearn.evaluation import Evaluation, EvaluationOptions, Extraction, evaluate, evaluate_segmentation
from splatlearn.evaluation.segmentation_data import SegmentedImages
from splatlearn.models import GMAE, MAE
from splatlearn.report import write_page, write_run_report
from splatlearn.report.evaluation import MOST_NAMED, evaluation_sections, few_shot_tables, score_table, shown


def extraction_on(machine: Machine) -> Extraction:
    """The same with what "auto" stands for on this machine."""
    device = choose_device(machine.device)
    precision = "bf16" if choose_precision(machine.precision, device) == "bf16" else "fp32"
    workers = machine.workers if machine.workers is not None else reading_workers(device)
    return Extraction(machine.batch_size, device, precision, workers, machine.max_unreadable)


def evaluations(
    model: MAE | GMAE,
    labelled: Labelled | None,
    segmented: SegmentedImages | None,
    options: EvaluationOptions,
    extraction: Extraction,
    cache: Path,
) -> Iterator[Evaluation]:
    """Evaluate a model on labelled images, on images with masks, or on both, and yield one evaluation of each."""
    if labelled is not None:
        with progress_bar() as told:
            evaluation = evaluate(model, labelled, options, extraction, cache, told)
        yield evaluation
    if segmented is not None:
        with progress_bar() as told:
            evaluation = evaluate_segmentation(model, segmented, options.controls, extraction=extraction, progress=told)
        yield evaluation


def results_folder(run: str, out: str | None) -> Path:
    """Return the folder of the results: `out`, or that of the run. Raises InputError if the run is no folder here."""
    if out is not None:
        return Path(out)
    if not Path(run).exists():
        raise InputError(
            f"out: expected a folder for the results, because {run} is not a folder on this machine, got none; "
            "name one with --out"
        )
    return Path(run)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a title and a table whose rows are lines, however narrow the terminal is."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("–" if cell is None else str(cell) for cell in row))
    console = Console()
    wanted = Measurement.get(console, console.options.update(width=10_000), table).maximum
    print(title)
    Console(width=wanted).print(table, highlight=False, markup=False)


def print_evaluation(evaluation: Evaluation, sample: str = "image") -> None:
    """Print the tables of an evaluation and the numbers of samples, and on stderr those that cannot be read.

    `sample`: what one of them is called.
    """
    for name, reason in list(evaluation.unreadable.items())[:MOST_NAMED]:
        note(f"{name}: unreadable {sample}: {reason}")
    if len(evaluation.unreadable) > MOST_NAMED:
        note(f"{len(evaluation.unreadable)} unreadable {sample}s in total, which evaluation.json lists")
    for table in (score_table(evaluation), *few_shot_tables(evaluation)):
        if table.rows:
            print_table(f"{evaluation.title}, percent", table.columns, table.rows)
            print()
    console = Console(soft_wrap=True)
    left_out = f"; {len(evaluation.unreadable)} unreadable" if evaluation.unreadable else ""
    console.print(
        f"{evaluation.train_images:,} {sample}s to learn from, {evaluation.val_images:,} to be judged on "
        f"({evaluation.split}){left_out}; chance {shown(evaluation.chance)} %",
        highlight=False, markup=False,
    )  # fmt: skip


def write_report(out: Path) -> Path:
    """The run's report, or a page of its own where the folder is no run's."""
    if is_run(out):
        return write_run_report(out)
    return write_page(out / "evaluation.html", f"splatlearn evaluate {out.name}", "", evaluation_sections(out))
