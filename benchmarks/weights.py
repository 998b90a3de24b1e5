"""The weights that come with the package: how they are trained, judged and stored.

    python -m benchmarks.weights train gmae-tiny --out runs/weights
    python -m benchmarks.weights judge gmae-tiny --out runs/weights
    python -m benchmarks.weights store gmae-tiny --out runs/weights

Training goes on where it stopped when the command is given again, on a GPU too. The photographs are those of the packs
in `shared/data` beside the checkout; the photographs of the figure-ground benchmark are not among them.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks.ablations import painted
from benchmarks.packs import FOLDER, Photographs, labelled_pack
from splatlearn.cli.benchmark import BenchmarkInput
from splatlearn.cli.scoring import edge_tables, figure_tables
from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.evaluation import EvaluationOptions, Extraction, evaluate, save_evaluation
from splatlearn.evaluation.boundaries.contenders import USUAL, gmae_edges
from splatlearn.evaluation.saliency.contenders import gmae_figures
from splatlearn.models import GMAE, MAE, ModelOptions, load_model, save_model
from splatlearn.models.folders.card import CardScore
from splatlearn.models.folders.packaged import FOLDER as PACKAGE
from splatlearn.report.run_facts import run_facts
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions, pretrain
from splatlearn.zero_shot import ReadOptions

Name = Literal["gmae-tiny", "mae-tiny"]
HIDDEN = "256 images of tiny_imagenet50, val, a mask of 75 %"
LIMIT = 12_000_000
"""Bytes of a stored file of weights."""
JUDGED = "judged.json"
TERMS = (
    "Tiny ImageNet and Imagenette (ImageNet's terms) and BSDS500: for non-commercial research only, and so are these "
    "weights."
)
"""What the sets of photographs ask for."""
LICENCE = "cc-by-nc-4.0"
"""Of the weights: what the photographs' terms leave room for."""
WINDOWS = ReadOptions(sizing="windows", fit_steps=100)
"""The best edges of a model of 64 px: windows, and a hundred steps through the renderer."""


def recipe_of(name: Name, folder: Path, epochs: int, device: str, workers: int | None) -> Recipe:
    """The recipe of a model and its twin: what they share is all that is not GMAE's own."""
    gmae = name.startswith("gmae")
    return Recipe(
        method="gmae" if gmae else "mae",
        model=f"{'gmae' if gmae else 'mae'}_vit_tiny_patch8_64",
        options=ModelOptions(
            decoder_embed_dim=128,
            decoder_depth=1,
            decoder_num_heads=2,
            gaussians=512 if gmae else None,
            gaussians_per_query=8 if gmae else None,
            color="linear" if gmae else None,
            background="learned" if gmae else None,
            initial_scale=1.0 if gmae else None,
        ),
        # Read-outs are of whole photographs: their visible patches are to be painted too.
        objective=ObjectiveOptions(error="both", visible_weight=1.0) if gmae else ObjectiveOptions(),
        data=DataOptions(
            data="photographs of tiny_imagenet50, imagenette224 and BSDS500", crop_scale=(0.2, 1.0), workers=workers
        ),
        optimizer=OptimizerOptions(
            epochs=epochs, batch_size=64, base_learning_rate=4e-3, warmup_epochs=min(1.0, epochs / 10)
        ),
        run=RunOptions(
            out=str(folder), seed=0, device=device, trackers=(), checkpoint_every=200, keep_checkpoints=1, resume=True
        ),
    )


def train(
    name: tyro.conf.Positional[Name],
    out: Path = Path("runs/weights"),
    epochs: int = 12,
    device: str = "auto",
    workers: int | None = None,
) -> None:
    """Train, or go on.

    Args:
        name: Which model.
        out: Folder of the runs.
        epochs: Passes over the photographs.
        device: auto, cpu, cuda.
        workers: Processes that decode and crop.
    """
    result = pretrain(recipe_of(name, out / name, epochs, device, workers), Photographs())
    if result.interrupted:
        raise SystemExit(f"stopped at step {result.steps} of {result.total}; the same command goes on from there")


def judge(
    name: tyro.conf.Positional[Name], out: Path = Path("runs/weights"), photos: int | None = None, device: str = "cpu"
) -> None:
    """Measure features, hidden pixels, edges and figures.

    Args:
        name: Which model.
        out: Folder of the runs.
        photos: Photographs of each benchmark of space, the first by name; all by default.
        device: cpu, cuda.
    """
    folder = out / name
    model = load_model(folder, device)
    asked = EvaluationOptions(probes=("knn", "linear"), pooling="mean", diagnostics=False)
    for data in ("cifar10", "tiny_imagenet50"):
        labelled = labelled_pack(data, 10_000, 2_000)
        save_evaluation(folder, evaluate(model, labelled, asked, Extraction(device=device), folder / "features"))
    found: dict = {"hidden pixels": painted(model, labelled_pack("tiny_imagenet50"))}
    if isinstance(model, GMAE):
        edges = [
            gmae_edges(model, name="zero-shot", read_outs=USUAL),
            gmae_edges(model, name="in windows, fitted 100", options=WINDOWS, read_outs={"default": USUAL["default"]}),
        ]
        found |= edge_tables(edges, BenchmarkInput(str(FOLDER / "bsds500"), limit=photos, thresholds=33))
        figures = [gmae_figures(model), gmae_figures(model, name="in windows", options=ReadOptions(sizing="windows"))]
        found |= figure_tables(figures, BenchmarkInput(str(FOLDER / "figure_ground"), limit=photos))
    write_whole(folder / JUDGED, json.dumps(found, indent=1) + "\n")


def store(name: tyro.conf.Positional[Name], out: Path = Path("runs/weights"), package: Path = PACKAGE) -> None:
    """Write the weights as float16 with a model card into the package.

    Args:
        name: Which model.
        out: Folder of the runs.
        package: Folder of the package's weights.
    """
    folder, stored = out / name, package / name
    model: MAE | GMAE = load_model(folder)
    facts = run_facts(folder)
    facts = dataclasses.replace(
        facts,
        name=name,
        data=f"{Photographs().description}. {TERMS}",
        command=f"python -m benchmarks.weights train {name}",
        license=LICENCE,
        scores=facts.scores + tuple(_scores(read_object(folder / JUDGED), isinstance(model, GMAE))),
    )
    if stored.exists():
        shutil.rmtree(stored)
    save_model(model, stored, facts, dtype=torch.float16)
    size = (stored / "model.safetensors").stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{stored}: expected weights of at most {LIMIT:,} bytes, got {size:,}")
    print(f"{stored}: {size:,} bytes")


def _scores(found: dict, painted_colors: bool) -> list[CardScore]:
    """Of edges and figures, and of the hidden pixels of a model that paints colours."""
    scores = []
    for title, rows in found.items():
        if title == "hidden pixels":
            if painted_colors:
                mean = {"mean of the visible": rows["psnr of the mean"]}
                scores.append(CardScore(HIDDEN, "hidden pixels", "PSNR", rows["psnr"], mean, "dB"))
                scores.append(CardScore(HIDDEN, "hidden pixels painted in", "SSIM", rows["ssim"]))
            continue
        scores += [
            CardScore(title, method, measure, value)
            for method, figures in rows.items()
            for measure, value in figures.items()
            if measure in {"ods", "ois", "ap", "iou"} and "published" not in method
        ]
    return scores


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"train": train, "judge": judge, "store": store}, config=(tyro.conf.OmitArgPrefixes,)
    )
