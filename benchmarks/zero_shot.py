"""Zero-shot edges and figures of GMAEs beside their controls, their MAE twins and methods without learning.

    python -m benchmarks.zero_shot --runs GMAE-0 GMAE-1 GMAE-2 --maes MAE-0 MAE-1 MAE-2 \\
        --bsds DIR --figure-ground DIR --out FOLDER --json-file benchmarks/results/zero_shot.json

The runs are of one recipe with different seeds. Everything is scored for the first; of the others, the trained models'
edges of all cues and of colour, and their figures.
What has been scored lies in FOLDER and is not scored again; `--part 0 2` and `--part 1 2` in two processes share the
work. The last lines are tables in Markdown, mean ± sd.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import tyro

from benchmarks.common import check_part
from benchmarks.zero_shot_contenders import mae_edges, shuffled_edges, shuffled_figures, token_cuts
from benchmarks.zero_shot_scores import Rows, edge_rows, figure_rows
from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.evaluation.boundaries.contenders import READ_OUTS as EDGES
from splatlearn.evaluation.boundaries.contenders import (
    EdgeContender,
    gmae_edges,
    plain_edges,
)
from splatlearn.evaluation.boundaries.data import PUBLISHED, open_bsds
from splatlearn.evaluation.features.embedders import random_twin
from splatlearn.evaluation.saliency.contenders import READ_OUTS as FIGURES
from splatlearn.evaluation.saliency.contenders import (
    FigureContender,
    gmae_figures,
    plain_figures,
)
from splatlearn.evaluation.saliency.data import open_figure_ground
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.runs.folder import RECIPE, environment
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.zero_shot import ReadOptions

LINES, COLORS, INDEX = "soft", "soft, colour alone", "layer index"
DEPTH = "soft, depth alone"
MIXTURES, GROUPS = ("mixtures", "mixtures, centre"), ("groups", "groups, centre")
ORDER = ("order", "depth")
SETTINGS = "settings.json"

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Options:
    """What is compared, and on what."""

    runs: tuple[str, ...]
    """Run or model folders of GMAEs."""
    maes: tuple[str, ...] = ()
    """Their MAE twins, in the same order."""
    bsds: str | None = None
    """BSDS500, for edges."""
    figure_ground: str | None = None
    """A folder of folders with images and masks, for figures."""
    limit: int | None = None
    """The first so many photographs for edges."""
    figure_limit: int | None = None
    """The first so many photographs of each group for figures."""
    thresholds: int = 99
    """Of the edges' strengths."""
    fit_steps: int = 200
    """Read-outs are scored without a fit and after so many steps; 0: without alone."""
    window: int = 128
    """Read-outs are scored in windows of this height too; 0: of the whole image alone."""
    edge_window: int = 240
    """Edges are scored in windows of this height after half as many steps too; chosen on the validation images."""
    part: tuple[int, int] = (0, 1)
    """(i, n) takes every n-th photograph from the i-th, for n processes beside one another."""
    device: str = "cpu"
    """Where the models run."""
    out: Path = Path("runs/zero_shot")
    """Folder of what has been scored."""
    json_file: Path | None = None
    """Where the figures go."""


def main(options: Options) -> None:
    """Score everything, print tables, and write them as JSON."""
    check_part(options.part)
    if options.maes and len(options.maes) != len(options.runs):
        raise SystemExit(f"maes: expected one for each of {len(options.runs)} runs, got {len(options.maes)}")
    keep_settings(options)
    found: dict[str, list[Rows]] = {}
    for number in range(len(options.runs)):
        for title, rows in scored(number, options).items():
            if rows is not None:
                found.setdefault(title, []).append(rows)
    for title, tables in found.items():
        print(f"{title}\n\n{markdown(tables)}\n")
    if options.json_file is not None:
        facts = {"options": asdict(options), "tables": found, "environment": environment()}
        write_whole(options.json_file, json.dumps(facts, indent=1, default=str) + "\n")


def keep_settings(options: Options) -> None:
    """Note in the folder what its scores depend on; raises SystemExit where they were made with something else."""
    # How many photographs there are, and who scores them, changes no score.
    free = {"limit", "figure_limit", "part", "device", "out", "json_file"}
    # As JSON has it, which knows no tuples; data that is not asked for this time may be the next.
    mine = json.loads(json.dumps({name: value for name, value in asdict(options).items() if name not in free}))
    path = options.out / SETTINGS
    theirs = read_object(path)
    for name, value in mine.items():
        if value is not None and theirs.get(name) is not None and theirs[name] != value:
            raise SystemExit(
                f"out: {options.out} holds scores made with {name} = {theirs[name]}, expected {value}; "
                "name another folder, or the same settings"
            )
    write_whole(path, json.dumps({**theirs, **{k: v for k, v in mine.items() if v is not None}}, indent=1) + "\n")


def scored(number: int, options: Options) -> dict[str, Rows | None]:
    """The tables of a run; None where another process has photographs left."""
    found: dict[str, Rows | None] = {}
    if options.bsds is not None:
        images, folder = open_bsds(options.bsds, limit=options.limit), options.out / f"edges-{number}"
        title = f"BSDS500, {len(images)} test images, {options.thresholds} thresholds"
        rows = edge_rows(lambda: edge_contenders(number, options), images, options.thresholds, folder, options.part)
        found[title] = rows and {**rows, **{f"{name} (published)": figures for name, figures in PUBLISHED.items()}}
    if options.figure_ground is not None:
        for group, pairs in open_figure_ground(options.figure_ground, options.figure_limit).items():
            folder = options.out / f"{group}-{number}"
            found[f"{group}, {len(pairs)} photographs"] = figure_rows(
                lambda: figure_contenders(number, options), pairs, folder, options.part
            )
    return found


def markdown(tables: list[Rows]) -> str:
    """Mean ± sd over the runs of every method's scores, the best of the first score first, published ones last."""
    rows: dict[str, list[Mapping[str, float]]] = {}
    for table in tables:
        for name, scores in table.items():
            rows.setdefault(name, []).append(scores)
    keys = [key for key in next(iter(rows.values()))[0] if key != "ods_threshold"]
    lines = ["| method | " + " | ".join(key.replace("_", " ") for key in keys) + " |", "|---" * (len(keys) + 1) + "|"]
    ordered = sorted(
        rows.items(), key=lambda row: ("published" in row[0], -statistics.fmean(each[keys[0]] for each in row[1]))
    )
    for name, scores in ordered:
        cells = []
        for key in keys:
            values = [each[key] for each in scores if key in each]
            several = len(values) > 1 and statistics.stdev(values) > 0
            spread = f" ± {statistics.stdev(values):.3f}" if several else ""
            cells.append(f"{statistics.fmean(values):.3f}{spread}" if values else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def edge_contenders(number: int, options: Options) -> list[EdgeContender]:
    """Everything that finds edges, or for runs after the first what was trained."""
    model, first = opened(options.runs[number], options), number == 0
    fitted, windows = readings(options)
    every = (LINES, DEPTH, COLORS, INDEX) if first else (LINES, COLORS)
    found = [gmae_edges(model, "GMAE", None, some(EDGES, *every))]
    if windows is not None and first:
        found.append(gmae_edges(model, "GMAE in windows", windows, some(EDGES, LINES, COLORS)))
    if fitted is not None:
        every = (LINES, COLORS, INDEX) if first else (COLORS,)
        found.append(gmae_edges(model, f"GMAE fitted {options.fit_steps}", fitted, some(EDGES, *every)))
        found.append(fitted_in_windows(model, "GMAE", options))
    if options.maes:
        twin = options.maes[number]
        found.append(mae_edges(opened_mae(twin, options), normalized_targets(twin)))
    if first:
        fresh = untrained(model)
        found += [shuffled_edges(model), *plain_edges()]
        found.append(gmae_edges(fresh, "random weights", None, some(EDGES, LINES, INDEX)))
        if fitted is not None:
            name = f"random weights fitted {options.fit_steps}"
            found.append(gmae_edges(fresh, name, fitted, some(EDGES, LINES, COLORS, INDEX)))
            found.append(fitted_in_windows(fresh, "random weights", options))
    return found


def fitted_in_windows(model: GMAE, name: str, options: Options) -> EdgeContender:
    """Edges of the colours of more Gaussians that were fitted for a shorter time."""
    steps = options.fit_steps // 2
    how = ReadOptions(sizing="windows", window=options.edge_window, fit_steps=steps)
    return gmae_edges(model, f"{name} in windows of {options.edge_window}, fitted {steps}", how, some(EDGES, COLORS))


def figure_contenders(number: int, options: Options) -> list[FigureContender]:
    """Everything that finds figures, or for runs after the first what was trained."""
    model, first = opened(options.runs[number], options), number == 0
    fitted, windows = readings(options)
    found = [gmae_figures(model), token_cuts(model, "GMAE")]
    if windows is not None:
        found.append(gmae_figures(model, "GMAE in windows", windows, some(FIGURES, *MIXTURES, *GROUPS)))
    if fitted is not None:
        found.append(
            gmae_figures(model, f"GMAE fitted {options.fit_steps}", fitted, some(FIGURES, *MIXTURES, *GROUPS, *ORDER))
        )
    if options.maes:
        found.append(token_cuts(opened_mae(options.maes[number], options), "MAE"))
    if first:
        fresh = untrained(model)
        found += [shuffled_figures(model, None, some(FIGURES, *GROUPS, *ORDER)), *plain_figures()]
        found += [gmae_figures(fresh, "random weights"), token_cuts(fresh, "random weights")]
        if windows is not None:
            found.append(gmae_figures(fresh, "random weights in windows", windows, some(FIGURES, *MIXTURES)))
        if fitted is not None:
            name = f"random weights fitted {options.fit_steps}"
            found.append(gmae_figures(fresh, name, fitted, some(FIGURES, *MIXTURES, *ORDER)))
    return found


def readings(options: Options) -> tuple[ReadOptions | None, ReadOptions | None]:
    """How images are read after a fit and in windows, where that is asked for."""
    fitted = ReadOptions(fit_steps=options.fit_steps) if options.fit_steps else None
    return fitted, ReadOptions(sizing="windows", window=options.window) if options.window else None


def some(every: Mapping[str, Kind], *names: str) -> dict[str, Kind]:
    """The named ones."""
    return {name: every[name] for name in names}


def opened(run: str, options: Options) -> GMAE:
    """The GMAE of a run."""
    model = load_model(run, options.device)
    if not isinstance(model, GMAE):
        raise SystemExit(f"runs: expected GMAEs, got a MAE in {run}")
    return model


def opened_mae(run: str, options: Options) -> MAE:
    """The MAE of a run."""
    model = load_model(run, options.device)
    if not isinstance(model, MAE):
        raise SystemExit(f"maes: expected MAEs, got a GMAE in {run}")
    return model


def untrained(model: GMAE) -> GMAE:
    """The same model with fresh weights."""
    twin = random_twin(model).to(next(model.parameters()).device)
    assert isinstance(twin, GMAE)
    return twin


def normalized_targets(run: str) -> bool:
    """Whether a run's targets were normalised patches; a folder without a recipe is taken to have raw ones."""
    path = Path(run) / RECIPE
    return bool(Recipe.read(path).objective.normalize_targets) if path.is_file() else False


if __name__ == "__main__":
    main(tyro.cli(Options))
