"""What models of splat sets learn on ModelNet10: pre-training by splat-mae and splat-jepa, with parts left out.

    python -m benchmarks.splat_learning shared/data/modelnet10/voxels32.npz --runs /tmp/runs --json-file results.json
    python -m benchmarks.splat_learning shared/data/modelnet10/voxels32.npz --objects shared/data/splat_objects …

Each shape is a voxel grid, whose surface becomes splats (`benchmarks.splat_shapes`): they are made from geometry, not
fitted to pictures, and all are grey. Every arm is pre-trained without labels, then read out. With `--objects`, a folder
of textured objects, models with and without colours learn on these instead, and tell the objects apart. What is done is
kept in `--runs` and `--json-file`, so that a call that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import tyro

from benchmarks.common import table
from benchmarks.splat_shapes import modelnet10
from splatlearn.data import Labelled, SplatList
from splatlearn.data.labelled import labelled_parts
from splatlearn.evaluation import EvaluationOptions
from splatlearn.evaluation.features.extraction import Features
from splatlearn.evaluation.probes.probes import probe_scores
from splatlearn.evaluation.sets.completion import completion
from splatlearn.evaluation.sets.episodes import few_shot_episodes
from splatlearn.evaluation.sets.features import labelled_features, set_features, statistics
from splatlearn.evaluation.sets.robustness import robustness
from splatlearn.files import read_splats
from splatlearn.models import SplatMAE, create_splat_model, load_splat_model, save_model
from splatlearn.models.splats.presets import SplatModel
from splatlearn.runs.folder import environment
from splatlearn.training import (
    DataOptions,
    FinetuneOptimizerOptions,
    FinetuneRecipe,
    LabelledOptions,
    ObjectiveOptions,
    OptimizerOptions,
    Recipe,
    RunOptions,
    SplatTraining,
    finetune,
    pretrain,
)

ALL = ("means", "opacities", "scales", "quaternions", "colors")
ARMS: dict[str, dict[str, Any]] = {
    "splat-mae": {},
    "splat-jepa": {"method": "splat-jepa", "hide": "block"},
    "index matching": {"matching": "index"},
    "shared shown": {"shared": "shown"},
    "rendered 10": {"rendered": 10.0},
    "means only": {"attributes": ("means",)},
    "means, scales, quaternions": {"attributes": ("means", "scales", "quaternions")},
    "block": {"hide": "block"},
    "salience": {"hide": "salience"},
    "morton": {"tokenizer": "morton"},
    "soft pooling": {"group_pooling": "soft"},
    "paper": {"preset": "paper"},
}
"""What each arm changes."""
CONTROLS: dict[str, dict[str, Any]] = {"random weights": {}, "random weights, means only": {"attributes": ("means",)}}
"""Models that were not pre-trained; fine-tuned, they are trained from scratch."""
STATISTICS = "statistics"
"""What no model gives."""
OTHERWISE = "splat-mae, other normalisation"
"""The splat-mae of this name's first part, read out and fine-tuned on numbers of which only means are normalised, as
the published fine-tuning does."""
OBJECT_ARMS: dict[str, dict[str, Any]] = {
    "objects": {},
    "objects, no colors": {"attributes": ("means", "opacities", "scales", "quaternions")},
    "objects, means only": {"attributes": ("means",)},
}
"""Arms of textured objects."""
SHOWN = ("linear", "knn", "5-way 10-shot", "10-way 20-shot", "finetune", "recall_area", "drift")
"""Scores of the table that is printed at the end."""
OBJECT_COPIES = 16
"""How often an epoch has each textured object, every time with other Gaussians drawn of it."""


@dataclass(frozen=True)
class Study:
    """How large the study is. The defaults are a screening of two cores and minutes."""

    size: str = "micro"
    """Width and depth: micro (128, 4 blocks) or tiny (192, 6 blocks)."""
    draw: int = 256
    """Gaussians drawn of a set."""
    groups: int = 32
    """Groups of a set."""
    group_size: int = 16
    """Gaussians of a group."""
    epochs: int = 20
    """Passes over the training shapes."""
    batch_size: int = 32
    """Shapes in a step."""
    rate: float = 8e-3
    """Learning rate at 256 shapes a step: 1e-3 at 32, the published peak."""
    per_class: int | None = 100
    """Training shapes of each class at most; None: all."""
    test_per_class: int | None = None
    """Test shapes of each class at most; None: all."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of weights, order and masks."""
    arms: tuple[str, ...] = (*CONTROLS, STATISTICS, *ARMS, OTHERWISE)
    """Which arms."""
    read_outs: tuple[str, ...] = field(default=("probes", "episodes", "robustness", "completion", "finetune"))
    """Which read-outs."""
    finetune_epochs: int = 10
    """Passes over the training shapes in fine-tuning."""


def recipe_of(arm: dict[str, Any], study: Study, out: Path, seed: int) -> Recipe:
    """The recipe of an arm."""
    arm = dict(arm)
    method, preset = arm.pop("method", "splat-mae"), arm.pop("preset", "default")
    sizes = {"draw": study.draw, "groups": study.groups, "group_size": study.group_size}
    return Recipe(
        method=method,
        preset=preset,
        model=f"{method}_vit_{study.size}",
        data=DataOptions(data="ModelNet10", workers=0),
        run=RunOptions(out=str(out), seed=seed, device="cpu", precision="fp32", trackers=(), keep_checkpoints=1,
                       checkpoint_every=100, resume=out.exists()),
        objective=ObjectiveOptions(),
        optimizer=OptimizerOptions(epochs=study.epochs, batch_size=study.batch_size, base_learning_rate=study.rate),
        splats=SplatTraining(**{**sizes, "turn": "none", **arm}),
    )  # fmt: skip


def read_out(model: SplatModel, labelled: Labelled, study: Study, folder: Path, seed: int) -> dict[str, Any]:
    """The scores of a model, by the names of its read-outs; what fine-tuning writes goes to a folder."""
    found: dict[str, Any] = {}
    features, _ = labelled_features(lambda part: set_features(model, part), labelled)
    found |= scores_of(features, study)
    if "robustness" in study.read_outs:
        robust = robustness(model, labelled.val)
        found |= {"drift": robust.drift, "recall": robust.recall, "recall_area": robust.area}
    if "completion" in study.read_outs and isinstance(model, SplatMAE) and model.config.encoder.scale_numbers == "log":
        found["completion"] = dataclasses.asdict(completion(model, labelled.val))
    if "finetune" in study.read_outs:
        if not (folder / "model").exists():
            save_model(model, folder / "model")
        found["finetune"] = finetuned(folder, labelled, study, seed)
    return found


def finetuned(folder: Path, labelled: Labelled, study: Study, seed: int) -> float | None:
    """Accuracy of a classifier that began with the model of a folder, after the last epoch."""
    recipe = FinetuneRecipe(
        model=str(folder / "model"),
        data=LabelledOptions(data="ModelNet10", workers=0, validate_every=study.finetune_epochs),
        run=RunOptions(out=str(folder / "finetuned"), seed=seed, device="cpu", precision="fp32", trackers=(),
                       checkpoint_every=1000, resume=(folder / "finetuned").exists()),
        optimizer=FinetuneOptimizerOptions(epochs=study.finetune_epochs, batch_size=study.batch_size, clip_norm=10.0,
                                           base_learning_rate=study.rate, layer_decay=1.0, ema_decay=0.0),
    )  # fmt: skip
    result = finetune(recipe, labelled)
    if result.interrupted:
        raise SystemExit("stopped; the same call goes on")
    return result.top1


@contextmanager
def only_means_normalised() -> Iterator[None]:
    """Within it, encoders see activated opacities, scales and colours as they are."""
    with mock.patch("splatlearn.models.splats.encoder.normalise", lambda sets, _: sets):
        yield


def scores_of(features: Features, study: Study) -> dict[str, Any]:
    """Probes and episodes of features."""
    found: dict[str, Any] = {}
    if "probes" in study.read_outs:
        options = EvaluationOptions(probes=("knn", "linear"), diagnostics=False, controls=False)
        scores = probe_scores(features.standardized(), options)
        found |= {score.probe: score.value for score in scores}
    if "episodes" in study.read_outs:
        for ways in (5, 10):
            for shots in (10, 20):
                episodes = few_shot_episodes(features, ways, shots)
                found[f"{ways}-way {shots}-shot"] = [episodes.mean, episodes.deviation]
    return found


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, or what is made and written there."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def folder_of(name: str, seed: int, runs: Path) -> Path:
    """Where the results of an arm are kept."""
    return runs / f"{name.replace(' ', '-').replace(',', '')}-{seed}"


def trained(name: str, arm: dict[str, Any], seed: int, train: SplatList, study: Study, runs: Path) -> dict[str, Any]:
    """Pre-train an arm, or take what was pre-trained; loss, steps and seconds."""
    folder = folder_of(name, seed, runs)

    def make() -> dict[str, Any]:
        began = time.process_time()
        result = pretrain(recipe_of(arm, study, folder / "run", seed), train)
        if result.interrupted:
            raise SystemExit("stopped; the same call goes on")
        return {"loss": result.loss, "steps": result.steps, "pretrain_cpu_s": time.process_time() - began}

    return kept(folder / "pretrained.json", make)


def arm_scores(name: str, seed: int, labelled: Labelled, train: SplatList, study: Study, runs: Path) -> dict[str, Any]:
    """Pre-train an arm and read it out."""
    folder = folder_of(name, seed, runs)

    def make() -> dict[str, Any]:
        if name == STATISTICS:
            return scores_of(labelled_features(lambda part: statistics(part, study.draw), labelled)[0], study)
        found: dict[str, Any] = {}
        if name in CONTROLS:
            recipe = recipe_of(CONTROLS[name], study, runs / "none", seed).resolved()
            assert recipe.model is not None
            model = create_splat_model(recipe.model, seed=seed, options=recipe.splats.model_options()).eval()
        else:
            source = name.partition(",")[0] if name == OTHERWISE else name
            found = trained(source, ARMS[source], seed, train, study, runs)
            model = load_splat_model(folder_of(source, seed, runs) / "run")
        began = time.process_time()
        if name == OTHERWISE:
            with only_means_normalised():
                found |= read_out(model, labelled, study, folder, seed)
        else:
            found |= read_out(model, labelled, study, folder, seed)
        return found | {"read_out_cpu_s": time.process_time() - began}

    return kept(folder / "scores.json", make)


def textured(folder: Path) -> SplatList:
    """The objects of a folder of .splat files, of 10,000 splats each."""
    files = sorted(folder.glob("*_10k.splat"))
    names = [file.name.removesuffix("_10k.splat") for file in files]
    return SplatList([read_splats(file) for file in files], labels=list(range(len(files))), class_names=names)


def object_scores(name: str, seed: int, objects: SplatList, study: Study, runs: Path) -> dict[str, Any]:
    """Pre-train an arm on textured objects, and find them again by other draws and by parts of them."""

    def make() -> dict[str, Any]:
        many = SplatList([objects[index].gaussians for index in range(len(objects))] * OBJECT_COPIES)
        found = trained(name, OBJECT_ARMS[name], seed, many, study, runs)
        robust = robustness(load_splat_model(folder_of(name, seed, runs) / "run"), objects)
        return found | {"drift": robust.drift, "recall": robust.recall, "recall_area": robust.area}

    return kept(folder_of(name, seed, runs) / "scores.json", make)


def main(
    voxels: tyro.conf.Positional[Path],
    study: Study = Study(),
    runs: Path = Path("runs/splat_learning"),
    json_file: Path | None = None,
    objects: Path | None = None,
    most: int | None = None,
) -> None:
    """Run what is not done yet, print a line for each arm, and write all as JSON.

    `most`: arms that this call runs at most, of those that are not done. The table at the end is of all that are done.
    """
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    if json_file is not None and json_file.is_file():
        results = json.loads(json_file.read_text(encoding="utf-8"))["results"]
    arms = tuple(OBJECT_ARMS) if objects is not None else study.arms
    wanted = [(seed, name) for seed in study.seeds for name in arms if str(seed) not in results.get(name, {})]
    facts: dict[str, Any] = {"study": {**dataclasses.asdict(study), "arms": None, "seeds": None, "read_outs": None}}
    if objects is None:
        train, test = modelnet10(voxels, study.per_class, study.test_per_class)
        labelled = labelled_parts(train, test, "ModelNet10's test shapes")
        facts |= {"train": len(train), "test": len(test)}
    else:
        train, labelled = textured(objects), None
    for seed, name in wanted[:most]:
        if labelled is None:
            found = object_scores(name, seed, train, study, runs)
        else:
            found = arm_scores(name, seed, labelled, train, study, runs)
        results.setdefault(name, {})[str(seed)] = found
        print(json.dumps({"arm": name, "seed": seed, **found}), flush=True)
        if json_file is not None:
            machine = {key: value for key, value in environment().items() if key != "command"}
            text = json.dumps({**facts, "results": results, "environment": machine}, indent=2)
            json_file.write_text(text + "\n", encoding="utf-8")
    print(table(["arm", "seeds", *SHOWN], [row_of(name, found) for name, found in results.items()]))


def row_of(name: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """The scores of an arm as cells: the mean over seeds, and the deviation where there are several."""
    cells = [name, str(len(found))]
    for score in SHOWN:
        values = [each[score] for each in found.values() if each.get(score) is not None]
        numbers = torch.tensor([value[0] if isinstance(value, list) else value for value in values])
        spread = f" ± {float(numbers.std()):.3f}" if len(numbers) > 1 else ""
        cells.append(f"{float(numbers.mean()):.3f}{spread}" if len(numbers) else "")
    return cells


if __name__ == "__main__":
    tyro.cli(main)
