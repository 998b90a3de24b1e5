"""The tables of `splatlearn benchmark`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from splatlearn.cli.choices import BenchmarkInput
from splatlearn.cli.notes import note_left_out
from splatlearn.cli.progress import Told, progress_bar
from splatlearn.evaluation.boundaries.contenders import EdgeContender
from splatlearn.evaluation.boundaries.data import PUBLISHED, AnnotatedImage, open_bsds, score_edges
from splatlearn.evaluation.saliency.contenders import FigureContender, score_figures
from splatlearn.evaluation.saliency.data import open_figure_ground
from splatlearn.images import LeftOut, decode

Rows = Mapping[str, Mapping[str, float]]
"""Scores by name, of methods by name."""


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
