"""Zero-shot edges and figures of a GMAE beside its controls, its MAE twin and methods without learning.

python -m benchmarks.zero_shot --run runs/gmae --mae runs/mae --bsds DIR --figure-ground DIR --limit 5 \\
    --json-file benchmarks/results/zero_shot.json
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from splatlearn.cli.benchmark import BenchmarkInput, Rows, edge_tables, figure_tables, print_table
from splatlearn.evaluation.bsds_contenders import EdgeContender, gmae_edges, mae_edges, plain_edges, shuffled_edges
from splatlearn.evaluation.embedders import random_twin
from splatlearn.evaluation.figure_ground_contenders import (
    FigureContender,
    gmae_figures,
    plain_figures,
    shuffled_figures,
    token_cuts,
)
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.training.recipe import Recipe
from splatlearn.training.run_folder import RECIPE, environment
from splatlearn.zero_shot import ReadOptions


@dataclass(frozen=True)
class Options:
    """What is compared, and on what."""

    run: str
    """A run or model folder of a GMAE."""
    mae: str | None = None
    """Its MAE twin: a run or model folder."""
    bsds: str | None = None
    """BSDS500, for edges."""
    figure_ground: str | None = None
    """A folder of folders with images and masks, for figures."""
    limit: int | None = None
    """The first so many images (of each folder)."""
    thresholds: int = 99
    """Of the edges' strengths."""
    refine: tuple[int, ...] = (200,)
    """Read-outs are scored without refinement and after each of these numbers of steps."""
    window: int | None = None
    """Read-outs are scored in windows of this height too."""
    processes: int = 2
    """That score, beside the one that runs the models."""
    device: str = "cpu"
    """Where the models run."""
    json_file: Path | None = None
    """Where the figures go."""


def main(options: Options) -> None:
    """Score everything, print tables, and write them as JSON."""
    began = time.perf_counter()
    model, mae = load_model(options.run, options.device), None
    if not isinstance(model, GMAE):
        raise SystemExit(f"run: expected a GMAE, got a MAE in {options.run}")
    if options.mae is not None:
        mae = load_model(options.mae, options.device)
        if not isinstance(mae, MAE):
            raise SystemExit(f"mae: expected a MAE, got a GMAE in {options.mae}")
    given = BenchmarkInput("", None, options.limit, options.processes, options.thresholds)
    tables: dict[str, Rows] = {}
    if options.bsds is not None:
        tables |= edge_tables(edge_contenders(model, mae, options), replace(given, data=options.bsds))
    if options.figure_ground is not None:
        tables |= figure_tables(figure_contenders(model, mae, options), replace(given, data=options.figure_ground))
    for title, rows in tables.items():
        print_table(title, rows)
    facts = {"tables": tables, "seconds": time.perf_counter() - began, "environment": environment()}
    if options.json_file is not None:
        options.json_file.parent.mkdir(parents=True, exist_ok=True)
        options.json_file.write_text(json.dumps(facts, indent=2, default=str) + "\n")


def readings(options: Options) -> dict[str, ReadOptions]:
    """The ways in which images are shown to the model, by the words that the tables have for them."""
    found = {"GMAE": ReadOptions()}
    if options.window is not None:
        found["GMAE in windows"] = ReadOptions(sizing="windows", window=options.window)
    return found | {f"GMAE refined {steps}": ReadOptions(refine=steps) for steps in options.refine}


def control_readings(options: Options) -> dict[str, ReadOptions]:
    """The same for random weights: refined, they say what the fit alone finds."""
    refined = {f"random weights refined {steps}": ReadOptions(refine=steps) for steps in options.refine}
    return {"random weights": ReadOptions()} | refined


def edge_contenders(model: GMAE, mae: MAE | None, options: Options) -> list[EdgeContender]:
    """Everything that finds edges."""
    found = [gmae_edges(model, name, reading) for name, reading in readings(options).items()]
    fresh = untrained(model)
    found += [shuffled_edges(model), *plain_edges()]
    found += [gmae_edges(fresh, name, reading) for name, reading in control_readings(options).items()]
    return found if mae is None else [*found, mae_edges(mae, normalized_targets(options.mae))]


def figure_contenders(model: GMAE, mae: MAE | None, options: Options) -> list[FigureContender]:
    """Everything that finds figures."""
    found = [gmae_figures(model, name, reading) for name, reading in readings(options).items()]
    fresh = untrained(model)
    found += [shuffled_figures(model), token_cuts(model, "GMAE"), *plain_figures()]
    found += [gmae_figures(fresh, name, reading) for name, reading in control_readings(options).items()]
    found.append(token_cuts(fresh, "random weights"))
    return found if mae is None else [*found, token_cuts(mae, "MAE")]


def untrained(model: GMAE) -> GMAE:
    """The same model with fresh weights."""
    twin = random_twin(model).to(next(model.parameters()).device)
    assert isinstance(twin, GMAE)
    return twin


def normalized_targets(run: str | None) -> bool:
    """Whether a run's targets were normalised patches; a folder without a recipe is taken to have raw ones."""
    path = Path(run or "") / RECIPE
    return bool(Recipe.read(path).objective.normalize_targets) if path.is_file() else False


if __name__ == "__main__":
    main(tyro.cli(Options))
