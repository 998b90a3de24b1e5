"""What the comparison's encoders are worth beyond probes of the class: segmentation, and fine-tuning on few labels.

    python -m benchmarks.transfer [--runs FOLDER] [--data tiny_imagenet50] [--seeds 0 1 2] [--json-file FILE]

Takes the runs of `benchmarks.representation`. The segmentation probe is a linear layer on patch tokens, trained on four
fifths of each group of `shared/data/figure_ground` and judged on the rest. Fine-tuning goes by the official recipe,
without RandAugment, from each run and from fresh weights of the same seed. Finished parts are not done again.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro

from benchmarks.packs import FOLDER, labelled_pack
from splatlearn.evaluation import few_shot_draw
from splatlearn.evaluation.comparison import paired_difference
from splatlearn.evaluation.features.embedders import random_twin
from splatlearn.evaluation.probes.dense_suite import evaluate_segmentation
from splatlearn.models import load_model, save_model
from splatlearn.runs.folder import environment
from splatlearn.training import (
    AugmentOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
    RunOptions,
    finetune,
)

METHODS = ("mae", "gmae")
FRESH = "random weights"
PIXELS = "raw pixels"
GROUPS = ("cats", "people")


@dataclass(frozen=True)
class Options:
    """Which runs, and how much of it."""

    runs: Path = Path("runs/representation")
    """Folder of the comparison's runs."""
    data: str = "tiny_imagenet50"
    """Pack that they were trained on, and are fine-tuned on."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs; fresh weights have the same."""
    shots: int = 20
    """Labelled images of each class that fine-tuning sees; 0 leaves it out."""
    epochs: int = 10
    """Passes over them."""
    judged: int = 1000
    """Validation images of fine-tuning, at most."""
    segmentation: bool = True
    """Whether patch tokens are probed."""
    json_file: Path | None = None
    """Where the figures go."""


def segmented(folder: Path, controls: bool) -> dict[str, dict[str, float]]:
    """Mean IoU of the run's patch tokens on each group, and with controls that of others."""
    stored = folder / ("segmentation-controls.json" if controls else "segmentation.json")
    if not stored.is_file():
        found: dict[str, dict[str, float]] = {}
        for group in GROUPS:
            evaluation = evaluate_segmentation(folder, FOLDER / "figure_ground" / group, controls=controls)
            for subject in evaluation.subjects:
                found.setdefault(subject.name, {})[f"mean IoU, {group}"] = subject.scores[0].value
        stored.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return json.loads(stored.read_text(encoding="utf-8"))


def finetuned(start: Path, out: Path, seed: int, given: Options) -> float:
    """Accuracy after fine-tuning what is in a folder on few labels."""
    stored = out / "top1.json"
    if not stored.is_file():
        data = labelled_pack(given.data, val_images=given.judged)
        chosen = few_shot_draw(torch.from_numpy(data.train.labels), data.classes, given.shots, draw=seed)
        few = replace(data, train=data.train.part(chosen.numpy()))
        recipe = FinetuneRecipe(
            model=str(start),
            data=LabelledOptions(data=f"{given.shots} images a class of {given.data}"),
            run=RunOptions(out=str(out), seed=seed, trackers=(), resume=(out / "checkpoints").exists()),
            augment=AugmentOptions(rand_augment=0.0),
            optimizer=FinetuneOptimizerOptions(epochs=given.epochs, batch_size=32),
        )
        stored.write_text(json.dumps(finetune(recipe, few).top1) + "\n", encoding="utf-8")
    return float(json.loads(stored.read_text(encoding="utf-8")))


def fresh(folder: Path, out: Path, seed: int) -> Path:
    """A model folder with fresh weights in place of those of a run."""
    if not (out / "config.json").is_file():
        save_model(random_twin(load_model(folder), seed), out)
    return out


def table(found: dict[str, dict[int, dict[str, float]]]) -> str:
    """Percent, mean ± sd over seeds, and the difference of the methods paired by seed."""
    names = list(dict.fromkeys(name for rows in found.values() for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(found) + " | GMAE − MAE |", "|---" * (len(found) + 2) + "|"]
    for name in names:
        cells = []
        for rows in found.values():
            values = [100 * row[name] for row in rows.values() if name in row]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.1f}{spread}" if values else "–")
        pair: list[dict[int | None, float]] = [
            {seed: 100 * row[name] for seed, row in found[method].items()} for method in METHODS
        ]
        cells.append(
            f"{statistics.fmean(pair[1].values()) - statistics.fmean(pair[0].values()):+.1f}"
            + (" \\*" if len(pair[0]) > 1 and paired_difference(*pair).exceeds_noise else "")
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "\\* marks those whose 95 % interval by Student's t excludes 0."])


def main(given: Options) -> None:
    """Probe and fine-tune, and print the table."""
    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in (*METHODS, FRESH, PIXELS)}
    tuned = f"finetuned-{given.shots}-shots-{given.epochs}-epochs-{given.judged}-judged"
    for seed in given.seeds:
        for method in METHODS:
            folder = given.runs / given.data / f"{method}-{seed}"
            row: dict[str, float] = {}
            if given.segmentation:
                # The controls are the same for all runs: the encoder's size and the photographs are.
                controls = (method, seed) == (METHODS[0], given.seeds[0])
                scores = segmented(folder, controls)
                row |= scores["model"]
                if controls:
                    found[FRESH][seed] = scores[FRESH]
                    found[PIXELS][seed] = scores[PIXELS]
            if given.shots:
                row["fine-tuned"] = finetuned(folder, folder / tuned, seed, given)
            found[method][seed] = row
        if given.shots:
            twin = given.runs / given.data / f"random-{seed}"
            start = fresh(given.runs / given.data / f"{METHODS[0]}-{seed}", twin, seed)
            found[FRESH].setdefault(seed, {})["fine-tuned"] = finetuned(start, twin / tuned, seed, given)
    print(table(found))
    if given.json_file is not None:
        facts = {"options": asdict(given), "found": found, "environment": environment()}
        given.json_file.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options))
