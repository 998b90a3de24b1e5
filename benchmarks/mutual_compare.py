"""What the terms are worth: single-mask, multi-mask and mutual-information pre-training at equal encoder passes.

Every arm takes the same number of steps with the same number of masked views in a step and the same learning rate. An
arm with one mask sees as many images in a step as the others see views, and so goes round the data that much oftener.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import numpy as np
import torch

from benchmarks.common import PAPER_LIKE, check_part
from benchmarks.corruptions import CORRUPTIONS, Corrupted
from benchmarks.packs import labelled_pack
from splatlearn.core.disk.atomic import write_whole
from splatlearn.data.labelled import Labelled, LabelledImages
from splatlearn.evaluation import EvaluationOptions, Extraction, evaluate, few_shot_draw, save_evaluation
from splatlearn.evaluation.comparison import paired_difference
from splatlearn.models import ModelOptions, save_model
from splatlearn.report.run_report import read_log
from splatlearn.training import (
    AugmentOptions,
    DataOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
    MutualInformationOptions,
    ObjectiveOptions,
    OptimizerOptions,
    Recipe,
    RunOptions,
    finetune,
    pretrain,
)
from splatlearn.training.pretraining.starting import new_model

Kind = Literal["mae", "gmae"]

FOUND = "found.json"
PLAIN = ("loss", "views_per_second", "loss_maximize", "loss_minimize", "estimator_fit")
"""What is no share: losses, in nats but for the first, and speed."""
NAMES = ("kind", "arm", "seed", "steps")
"""What names a run, beside what was found of it."""
LAST = 20
"""Last logged steps whose mean a term's value is."""
CONTROL = "multi"
"""Other arms' differences are from this one."""
MASKS = 4
NONE = MutualInformationOptions(masks=MASKS, maximize_weight=0.0, minimize_weight=0.0)
RANDOM = "random"
"""The arm that is judged without any training."""
ARMS: dict[str, MutualInformationOptions] = {
    RANDOM: dataclasses.replace(NONE, masks=1),
    "single": dataclasses.replace(NONE, masks=1),
    "multi": NONE,
    "max": dataclasses.replace(NONE, maximize_weight=None),
    "min": dataclasses.replace(NONE, minimize_weight=None),
    "mi": MutualInformationOptions(),
    "mi-cls": MutualInformationOptions(pooling="cls"),
    "mi-projector": MutualInformationOptions(projector=128),
    "mi-block": MutualInformationOptions(mask_pattern="block"),
    "mi-grid": MutualInformationOptions(mask_pattern="grid"),
    "mi-leave-one-out": MutualInformationOptions(estimator="leave-one-out"),
    "mi-mine": MutualInformationOptions(estimator="mine"),
}
"""Settings of mi-mae and mi-gmae; None stands for the methods' own weights."""


@dataclass(frozen=True)
class CompareOptions:
    """Which arms, on which images, for how long."""

    out: Path
    """Folder of the runs; those that are finished are not done again."""
    data: Literal["cifar10", "tiny_imagenet50"] = "cifar10"
    arms: tuple[str, ...] = ("single", "multi", "max", "min", "mi")
    maximize_weights: tuple[float, ...] = ()
    """Further arms that differ from mi in this weight."""
    minimize_weights: tuple[float, ...] = ()
    """Further arms that differ from mi in this weight."""
    kinds: tuple[Kind, ...] = ("mae", "gmae")
    seeds: tuple[int, ...] = (0, 1, 2)
    encoder: str = "vit_tiny_patch4_32"
    """The models' name without its kind."""
    decoder_depth: int = 2
    gaussians: int = 64
    train_images: int | None = None
    val_images: int | None = None
    epochs: int = 20
    """Passes over the images of an arm with several masks."""
    batch_size: int = 64
    """Images in a step of an arm with several masks."""
    learning_rate: float = 1e-3
    """Of all arms, at its peak."""
    finetune_epochs: int = 50
    """On 1 % of the labels; 0 leaves it out."""
    strengths: tuple[int, ...] = (1, 3, 5)
    """Of the corruptions."""
    part: tuple[int, int] = (0, 1)
    """(i, n) does every n-th run from the i-th, for n processes beside one another."""
    device: str = "cpu"


def arms(options: CompareOptions) -> dict[str, MutualInformationOptions]:
    """The arms by name; raises ValueError for an unknown one."""
    for name in options.arms:
        if name not in ARMS:
            raise ValueError(f"arms: expected some of {', '.join(ARMS)}, got {name!r}")
    chosen = {name: ARMS[name] for name in options.arms}
    for field, weights in (
        ("maximize_weight", options.maximize_weights),
        ("minimize_weight", options.minimize_weights),
    ):
        for weight in weights:
            chosen[f"{field}={weight:g}"] = dataclasses.replace(ARMS["mi"], **{field: weight})
    return chosen


def compare(options: CompareOptions) -> Iterator[dict]:
    """Train and judge every arm with every seed, or a part of them; yields what was found by whoever found it."""
    check_part(options.part)
    data = labelled_pack(options.data, options.train_images, options.val_images)
    # Seeds outside: an interrupted comparison has all arms of the seeds that are done.
    runs: list[tuple[Kind, str, MutualInformationOptions, int]] = [
        (kind, name, mutual, seed)
        for seed in options.seeds
        for kind in options.kinds
        for name, mutual in arms(options).items()
    ]
    first, step = options.part
    for kind, name, mutual, seed in runs[first::step]:
        folder = options.out / options.data / f"{kind}-{name}-{seed}"
        if not (folder / FOUND).is_file():
            wanted = recipe(folder, kind, mutual, seed, options)
            facts = {"kind": kind, "arm": name, "seed": seed, **_run(wanted, name != RANDOM, data, options)}
            write_whole(folder / FOUND, json.dumps(facts, indent=2) + "\n")
    for kind, name, _, seed in runs:
        found = options.out / options.data / f"{kind}-{name}-{seed}" / FOUND
        if found.is_file():
            yield json.loads(found.read_text())


def recipe(folder: Path, kind: Kind, mutual: MutualInformationOptions, seed: int, options: CompareOptions) -> Recipe:
    """The recipe of an arm: as many steps, views in a step and as high a learning rate as any other."""
    more = MASKS // (mutual.masks or MASKS)
    batch_size = options.batch_size * more
    painted = ModelOptions(
        decoder_depth=options.decoder_depth, gaussians=options.gaussians, gaussians_per_query=1, **PAPER_LIKE
    )
    return Recipe(
        method="mi-mae" if kind == "mae" else "mi-gmae",
        model=f"{kind}_{options.encoder}",
        options=painted if kind == "gmae" else ModelOptions(decoder_depth=options.decoder_depth),
        objective=ObjectiveOptions(error="squared", visible_weight=0.0),
        data=DataOptions(data=options.data, crop_scale=(0.2, 1.0)),
        mutual=mutual,
        optimizer=OptimizerOptions(
            epochs=options.epochs * more,
            batch_size=batch_size,
            base_learning_rate=options.learning_rate * 256 / batch_size,
            warmup_epochs=options.epochs * more / 10,
        ),
        run=RunOptions(
            out=str(folder), seed=seed, device=options.device, trackers=(), checkpoint_every=10_000, resume=True
        ),
    )


def _run(wanted: Recipe, trained: bool, data: Labelled, options: CompareOptions) -> dict[str, float]:
    folder = Path(wanted.run.out)
    facts: dict[str, float] = {}
    if trained:
        result = pretrain(wanted, data.train)
        views = result.images_per_second * (wanted.mutual.masks or MASKS)
        facts = {"steps": result.steps, "loss": result.loss, "views_per_second": views, **terms(folder)}
    else:
        save_model(new_model(wanted), folder)
    facts |= _probes(folder, data, options)
    facts |= _corrupted(folder, data, options)
    if options.finetune_epochs:
        facts["fine-tune, 1%"] = _finetuned(folder, data, wanted.run.seed, options)
    return facts


def terms(folder: Path) -> dict[str, float]:
    """The mutual-information terms of a run and the fit of its estimator, at the end of its log."""
    steps = [entry for entry in read_log(folder / "log.jsonl") if "loss" in entry][-LAST:]
    names = [name for name in PLAIN[2:] if all(name in entry for entry in steps)]
    return {name: mean(entry[name] for entry in steps) for name in names}


def _probes(folder: Path, data: Labelled, options: CompareOptions) -> dict[str, float]:
    """Nearest neighbours, a linear classifier and few labels, on the mean of the patches' tokens."""
    asked = EvaluationOptions(probes=("knn", "linear", "few-shot"), pooling="mean", controls=False, diagnostics=False)
    evaluation = evaluate(folder, data, asked, Extraction(device=options.device), folder / "features")
    save_evaluation(folder, evaluation)
    return {score.key: score.value for score in evaluation.model.scores}


def _corrupted(folder: Path, data: Labelled, options: CompareOptions) -> dict[str, float]:
    """Nearest neighbours of corrupted images among clean ones, averaged over strengths."""
    asked = EvaluationOptions(probes=("knn",), pooling="mean", controls=False, diagnostics=False)
    facts = {}
    for name in CORRUPTIONS if options.strengths else ():
        values = []
        for strength in options.strengths:
            source = Corrupted(data.val, name, strength, data.val.labels)
            val = LabelledImages(source, np.arange(len(source)), data.val.labels, data.classes)
            changed = dataclasses.replace(data, val=val, split=source.description)
            found = evaluate(folder, changed, asked, Extraction(device=options.device), folder / "features")
            values.append(found.model.scores[0].value)
        facts[f"knn, {name}"] = mean(values)
    return facts


def _finetuned(folder: Path, data: Labelled, seed: int, options: CompareOptions) -> float:
    """Accuracy after fine-tuning on a hundredth of the labels, without RandAugment."""
    chosen = few_shot_draw(torch.from_numpy(data.train.labels), data.classes, 0.01, draw=seed)
    few = dataclasses.replace(data, train=data.train.part(chosen.numpy()))
    wanted = FinetuneRecipe(
        model=str(folder),
        data=LabelledOptions(data=f"1 % of {options.data}", validate_every=options.finetune_epochs),
        run=RunOptions(out=str(folder / "finetune"), seed=seed, device=options.device, trackers=(), resume=True),
        augment=AugmentOptions(rand_augment=0.0),
        optimizer=FinetuneOptimizerOptions(epochs=options.finetune_epochs, batch_size=min(64, len(chosen))),
    )
    top1 = finetune(wanted, few).top1
    assert top1 is not None
    return top1


def summary(found: list[dict]) -> str:
    """Tables in Markdown for each kind of model: mean ± sd over seeds, and the difference from `CONTROL`, paired by
    seed, with a star if its 95 % interval by Student's t excludes 0."""
    blocks = []
    for kind in dict.fromkeys(facts["kind"] for facts in found):
        mine = [facts for facts in found if facts["kind"] == kind]
        names = list(dict.fromkeys(facts["arm"] for facts in mine))
        lines = [f"| {kind} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for score in dict.fromkeys(key for facts in mine for key in facts if key not in NAMES):
            values: dict[str, dict[int | None, float]] = {name: {} for name in names}
            for facts in mine:
                if score in facts:
                    values[facts["arm"]][facts["seed"]] = facts[score]
            # Losses and speeds are what they are; scores are shares.
            unit = 1.0 if score in PLAIN else 100.0
            cells = [_cell(values[name], values.get(CONTROL, {}) if name != CONTROL else {}, unit) for name in names]
            lines.append(f"| {score} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cell(values: dict[int | None, float], control: dict[int | None, float], unit: float) -> str:
    if not values:
        return "–"
    digits = 3 if unit == 1.0 else 1
    cell = f"{unit * mean(values.values()):.{digits}f}"
    if len(values) > 1:
        cell += f" ± {unit * stdev(values.values()):.{digits}f}"
    difference = paired_difference(control, values)
    if difference.pairs and unit != 1.0:
        cell += f" ({unit * difference.mean:+.{digits}f}{'*' if difference.exceeds_noise else ''})"
    return cell
