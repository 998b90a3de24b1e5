"""What MAE and GMAE learn: the same encoder, images, epochs and seeds, and the same probes.

    python -m benchmarks.representation [--data cifar10 tiny_imagenet50] [--seeds 0 1 2] [--scale 1] [--out FOLDER]

Every run is pre-trained on images of the pack without their labels and then evaluated; runs that are there are not made
again, and interrupted ones go on. `--scale` multiplies images and epochs, and the size of the model grows with it, so
that a GPU can be kept busy. The last lines are tables in Markdown: mean ± sd over seeds, and differences paired
by seed with a 95 % interval by Student's t. The packs lie in `shared/data` beside the checkout.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.common import PAPER_LIKE
from benchmarks.packs import labelled_pack
from benchmarks.representation_tables import controls, picture, record, table
from splatlearn.data import resize_center_crop
from splatlearn.data.labelled import Labelled
from splatlearn.evaluation import masked_psnr
from splatlearn.evaluation.comparison import compare_runs, read_run
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.results import save_evaluation
from splatlearn.evaluation.suite import evaluate
from splatlearn.models import ModelOptions, load_model, random_mask
from splatlearn.runs.folder import environment
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions, pretrain
from splatlearn.training.pretraining.online_probe import ProbeOptions
from splatlearn.training.pretraining.recipe import Method

METHODS: tuple[Method, ...] = ("mae", "gmae")
SIDES = {"cifar10": (32, 4), "tiny_imagenet50": (64, 8)}
"""Pixels of an image and of a patch: 64 patches in both."""
IMAGES = 10_000
"""Training images at scale 1; all that there are, at most."""
EPOCHS = 12
"""Passes over them at scale 1."""
JUDGED = 500
"""Validation images whose hidden pixels are compared."""


@dataclass(frozen=True)
class Plan:
    """How large the comparison is."""

    scale: float = 1.0
    """Multiplies images (up to all of them) and epochs; from 10 on the encoder is ViT-Small, from 100 on ViT-Base."""
    batch_size: int = 32
    """Images of a step."""
    learning_rate: float = 5e-4
    """Peak, at that batch size; the same for both methods."""
    probe_train: int = 5000
    """Labelled images that the last probes learn from, at most."""
    probe_val: int = 2500
    """Validation images that they are judged on, at most."""

    @property
    def size(self) -> str:
        """Of the encoder."""
        return "base" if self.scale >= 100 else "small" if self.scale >= 10 else "tiny"


def recipe_of(method: Method, data: str, images: int, plan: Plan, seed: int, out: Path) -> Recipe:
    """The run of one method: what differs between methods is their decoder's head and their own targets."""
    side, patch_size = SIDES[data]
    options = ModelOptions(decoder_depth=2)
    if method == "gmae":
        options = ModelOptions(decoder_depth=2, gaussians=256, gaussians_per_query=16, **PAPER_LIKE)
    return Recipe(
        method=method,
        model=f"{method}_vit_{plan.size}_patch{patch_size}_{side}",
        options=options,
        objective=ObjectiveOptions(error="squared", visible_weight=0.0),
        data=DataOptions(data=f"{data}, {images} images", crop_scale=(0.3, 1.0)),
        optimizer=OptimizerOptions(
            epochs=max(1, round(EPOCHS * plan.scale)),
            batch_size=plan.batch_size,
            base_learning_rate=plan.learning_rate * 256 / plan.batch_size,
            warmup_epochs=0.5,
        ),
        run=RunOptions(out=str(out), seed=seed, trackers=(), checkpoint_every=2000, keep_checkpoints=1),
        probe=ProbeOptions(probe_every=1),
    )


def run(method: Method, data: str, plan: Plan, seed: int, out: Path) -> Path:
    """Pre-train and evaluate, unless that is done; returns the run's folder."""
    folder = out / data / f"{method}-{seed}"
    if (folder / "done.json").exists():
        return folder
    labelled = labelled_pack(data, train_images=round(IMAGES * max(1.0, plan.scale)))
    recipe = recipe_of(method, data, len(labelled.train), plan, seed, folder)
    if (folder / "checkpoints").exists():
        recipe = Recipe.from_dict({**asdict(recipe), "run": {**asdict(recipe.run), "resume": True}})
    result = pretrain(recipe, labelled.train.source)
    if result.interrupted:
        raise SystemExit(f"stopped at step {result.steps} of {result.total}; the same command goes on from there")
    # The controls are the same for all runs on the data: the encoder's size and the images are.
    controls = method == METHODS[0] and seed == 0
    probed = labelled_pack(data, plan.probe_train, plan.probe_val)
    save_evaluation(folder, evaluate(folder, probed, EvaluationOptions(pooling="mean", controls=controls)))
    facts = {
        **_reconstruction(folder, labelled, method == "mae", SIDES[data]),
        "images_per_second": result.images_per_second,
        "minutes": result.seconds / 60,
        "steps": result.steps,
    }
    (folder / "done.json").write_text(json.dumps(facts, indent=2) + "\n")
    return folder


def _reconstruction(folder: Path, labelled: Labelled, normalized: bool, sides: tuple[int, int]) -> dict[str, float]:
    side, patch_size = sides
    judged = [labelled.val.source[index] for index in range(min(JUDGED, len(labelled.val)))]
    pixels = torch.stack([torch.from_numpy(resize_center_crop(each.image, side, side)) for each in judged])
    grid = (side // patch_size, side // patch_size)
    mask = random_mask(len(judged), grid, 0.75, torch.Generator().manual_seed(0))
    return masked_psnr(load_model(folder), pixels.float() / 255, mask, normalized)


def main(
    data: tuple[str, ...] = ("cifar10", "tiny_imagenet50"),
    seeds: tuple[int, ...] = (0, 1, 2),
    plan: Plan = Plan(),
    out: str = "runs/representation",
    json_file: Path | None = None,
    picture_file: Path | None = None,
) -> None:
    """Pre-train both methods on each pack and seed, probe them, and print the tables.

    `json_file` takes every figure, and `picture_file` the probes by epoch as a PNG.
    """
    # Seeds outside, so that an interrupted comparison has both methods of the seeds that are done.
    folders: dict[str, list[Path]] = {name: [] for name in data}
    for name in data:
        for seed in seeds:
            folders[name] += [run(method, name, plan, seed, Path(out)) for method in METHODS]
    found = []
    for name in data:
        ordered = sorted(folders[name], key=lambda folder: METHODS.index(folder.name.split("-")[0]))
        runs = [read_run(folder) for folder in ordered]
        comparison = compare_runs(runs)[0]
        found.append(record(name, comparison, ordered))
        print(table(comparison, ordered), controls(runs), sep="\n\n", end="\n\n")
    if json_file is not None:
        facts = {"plan": asdict(plan), "found": found, "environment": environment()}
        json_file.write_text(json.dumps(facts, indent=1, default=str) + "\n")
    if picture_file is not None:
        picture(folders).savefig(picture_file, dpi=150)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
