"""`splatlearn benchmark bsds500|figure-ground RUN --data DIR`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from splatlearn.cli.notes import changed, note_left_out, note_unused
from splatlearn.cli.progress import Told, progress_bar
from splatlearn.cli.which_model import described, load_gmae
from splatlearn.cli.written import is_run
from splatlearn.cli.zero_shot import Reading
from splatlearn.core.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.core.outputs import outputs_in
from splatlearn.data import LeftOut, decode
from splatlearn.device import choose_device
from splatlearn.evaluation.bsds import THRESHOLDS
from splatlearn.evaluation.bsds_contenders import READ_OUTS, USUAL, EdgeContender, gmae_edges, plain_edges
from splatlearn.evaluation.bsds_data import PUBLISHED, AnnotatedImage, open_bsds, score_edges
from splatlearn.evaluation.figure_ground_contenders import (
    FigureContender,
    gmae_figures,
    plain_figures,
    score_figures,
)
from splatlearn.evaluation.figure_ground_data import open_figure_ground
from splatlearn.zero_shot.scene import check_options

Rows = Mapping[str, Mapping[str, float]]
"""Scores by name, of methods by name."""


@dataclass(frozen=True)
class BenchmarkInput:
    """What is scored, on what, and how."""

    data: str
    """BSDS500 with images/test and groundTruth/test; or a folder with images and masks, or of such folders."""
    out: str | None = None
    """Folder for benchmark-NAME.json. Default: RUN."""
    overwrite: bool = False
    """Replace the scores that an earlier call wrote into the folder; in RUN they always are."""
    limit: int | None = None
    """The first images alone, of each folder. Default: all."""
    processes: int = 2
    """That score, beside the one that runs the model; 1 does both."""
    thresholds: int = THRESHOLDS
    """Of the edges' strengths; the benchmark has 99."""
    baselines: Literal["auto", "yes", "no"] = "auto"
    """Score methods without learning too. auto: of figures, where they cost little."""
    every: bool = False
    """Score every read-out of edges, not the default and the paper's alone."""

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("processes", self.processes), ("thresholds", self.thresholds)):
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")


def benchmark_command(
    name: tyro.conf.Positional[Literal["bsds500", "figure-ground"]],
    run: tyro.conf.Positional[str],
    given: Annotated[BenchmarkInput, tyro.conf.arg(name="")],
    reading: Annotated[Reading, tyro.conf.arg(name="")] = Reading(),  # noqa: B008
) -> int:
    """Score a GMAE's zero-shot edges on BSDS500, or its figures on photographs with masks, beside simple methods.

    Args:
        name: bsds500: ODS, OIS and AP of edges; figure-ground: IoU, max F, accuracy, CorLoc and boundary F of masks.
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE.
    """
    if given.out is None and not Path(run).is_dir():
        raise InputError(f"out: expected a folder for the results of {run}, which is no folder here; name one")
    out = Path(run if given.out is None else given.out)
    result = f"benchmark-{name}.json"
    outputs = outputs_in(out, [result], given.overwrite, owned=lambda _: given.out is None or is_run(out))
    options = reading.options()
    if name == "figure-ground":
        note_unused(changed(given, "thresholds", "every"), "on figure-ground, which scores masks")
    note_unused(changed(reading, "batch_size"), "here, where images are read one by one")
    model = load_gmae(run, choose_device(reading.device))
    check_options(model, options)
    if name == "bsds500":
        edges = gmae_edges(model, options=options, read_outs=READ_OUTS if given.every else USUAL)
        tables = edge_tables([edges, *(plain_edges() if given.baselines == "yes" else [])], given)
    else:
        baselines = [] if given.baselines == "no" else plain_figures()
        tables = figure_tables([gmae_figures(model, options=options), *baselines], given)
    with outputs.writing():
        write_whole(out / result, json.dumps(tables, indent=2) + "\n")
    for title, rows in tables.items():
        print_table(title, rows)
    print(f"{out / result}; model: {described(run)}")
    return 0


def edge_tables(contenders: list[EdgeContender], given: BenchmarkInput) -> dict[str, Rows]:
    """The scores of edges by every contender, and published ones where all test images are scored."""
    left_out = LeftOut()
    images = open_bsds(given.data, limit=given.limit, left_out=left_out)
    note_left_out(given.data, left_out)
    with progress_bar() as told:
        panels = _watched(_edge_panels(contenders, images), told, len(images))
        scores = score_edges(panels, images, given.thresholds, given.processes)
    rows: dict[str, Mapping[str, float]] = {name: score.summary() for name, score in scores.items()}
    rows |= {f"{name} (published, 200 images)": figures for name, figures in PUBLISHED.items()}
    return {f"BSDS500, {len(images)} test images, {given.thresholds} thresholds": rows}


def figure_tables(contenders: list[FigureContender], given: BenchmarkInput) -> dict[str, Rows]:
    """The scores of figures by every contender, for each group of photographs."""
    tables: dict[str, Rows] = {}
    left_out = LeftOut()
    groups = open_figure_ground(given.data, given.limit, left_out)
    note_left_out(given.data, left_out)
    for group, pairs in groups.items():
        with progress_bar() as told:
            count = partial(_scored, told, group, len(pairs))
            scores = score_figures(contenders, pairs, given.processes, count)
        tables[f"{group}, {len(pairs)} photographs"] = {name: score.summary() for name, score in scores.items()}
    return tables


def print_table(title: str, rows: Rows) -> None:
    """One row a method; figures that a method lacks are dashes."""
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for method, figures in rows.items():
        table.add_row(method, *(f"{figures[name]:.3f}" if name in figures else "-" for name in names))
    console = Console()
    # Into a file or a pipe, a table is as wide as it needs to be.
    (console if console.is_terminal else Console(width=160)).print(table)


def _edge_panels(contenders: list[EdgeContender], images: list[AnnotatedImage]) -> Iterator[dict[str, np.ndarray]]:
    for image in images:
        photo = np.asarray(decode(image.image, str(image.image)))
        panels = [contender.panel(photo) for contender in contenders]
        yield {name: edges for panel in panels for name, edges in panel.items()}


def _watched(panels: Iterator[dict[str, np.ndarray]], told: Told, total: int) -> Iterator[dict[str, np.ndarray]]:
    for number, panel in enumerate(panels):
        told("edges", number, total)
        yield panel


def _scored(told: Told, group: str, total: int, done: int) -> None:
    told(group, done, total)
