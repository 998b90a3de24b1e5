"""What models of splat sets learn on ModelNet10: pre-training by splat-mae and splat-jepa, with parts left out.

python -m benchmarks.splat_learning shared/data/modelnet10/voxels32.npz --runs /tmp/runs --json-file results.json

Each shape is a voxel grid, whose surface becomes splats (`benchmarks.splat_shapes`): they are made from geometry, not
fitted to pictures, and all are grey. Every arm is pre-trained without labels, then read out. What is done is kept in
`--runs`, so that a call that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro

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
from splatlearn.models import SplatMAE, create_splat_model, load_splat_model
from splatlearn.models.splats.presets import SplatModel
from splatlearn.runs.folder import environment
from splatlearn.training import (
    DataOptions,
    ObjectiveOptions,
    OptimizerOptions,
    Recipe,
    RunOptions,
    SplatTraining,
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
CONTROLS = ("random weights", "random weights, means only", "statistics")


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
    arms: tuple[str, ...] = tuple(ARMS)
    """Which arms."""
    read_outs: tuple[str, ...] = field(default=("probes", "episodes", "robustness", "completion"))
    """Which read-outs."""


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


def read_out(model: SplatModel, labelled: Labelled, study: Study) -> dict[str, Any]:
    """The scores of a model, by the names of its read-outs."""
    found: dict[str, Any] = {}
    features, _ = labelled_features(lambda part: set_features(model, part), labelled)
    found |= scores_of(features, study)
    if "robustness" in study.read_outs:
        robust = robustness(model, labelled.val)
        found |= {"drift": robust.drift, "recall": robust.recall, "recall_area": robust.area}
    if "completion" in study.read_outs and isinstance(model, SplatMAE) and model.config.encoder.scale_numbers == "log":
        found["completion"] = dataclasses.asdict(completion(model, labelled.val))
    return found


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


def arm_scores(name: str, seed: int, labelled: Labelled, train: SplatList, study: Study, runs: Path) -> dict[str, Any]:
    """Pre-train an arm and read it out."""
    folder = runs / f"{name.replace(' ', '-').replace(',', '')}-{seed}"

    def make() -> dict[str, Any]:
        began = time.process_time()
        result = pretrain(recipe_of(ARMS[name], study, folder / "run", seed), train)
        trained = time.process_time()
        model = load_splat_model(folder / "run")
        found = read_out(model, labelled, study)
        times = {"pretrain_cpu_s": trained - began, "read_out_cpu_s": time.process_time() - trained}
        return {"loss": result.loss, "steps": result.steps, **times, **found}

    return kept(folder / "scores.json", make)


def control_scores(name: str, seed: int, labelled: Labelled, study: Study, runs: Path) -> dict[str, Any]:
    """The scores of what has learned nothing."""

    def make() -> dict[str, Any]:
        if name == "statistics":
            features, _ = labelled_features(lambda part: statistics(part, study.draw), labelled)
            return scores_of(features, study)
        arm = {"attributes": ("means",)} if "means" in name else {}
        recipe = recipe_of(arm, study, runs / "none", seed).resolved()
        assert recipe.model is not None
        model = create_splat_model(recipe.model, seed=seed, options=recipe.splats.model_options()).eval()
        return read_out(model, labelled, study)

    return kept(runs / f"{name.replace(' ', '-').replace(',', '')}-{seed}" / "scores.json", make)


def main(
    voxels: tyro.conf.Positional[Path],
    study: Study = Study(),
    runs: Path = Path("runs/splat_learning"),
    json_file: Path | None = None,
) -> None:
    """Run what is not done yet, print a line for each arm, and write all as JSON."""
    torch.set_num_threads(1)
    train, test = modelnet10(voxels, study.per_class, study.test_per_class)
    labelled = labelled_parts(train, test, "ModelNet10's test shapes")
    results: dict[str, dict[str, Any]] = {}

    def tell(name: str, seed: int, found: dict[str, Any]) -> None:
        results.setdefault(name, {})[str(seed)] = found
        print(json.dumps({"arm": name, "seed": seed, **found}), flush=True)
        if json_file is not None:
            facts = {"study": dataclasses.asdict(study), "train": len(train), "test": len(test)}
            text = json.dumps({**facts, "results": results, "environment": environment()}, indent=2)
            json_file.write_text(text + "\n", encoding="utf-8")

    for seed in study.seeds:
        for name in CONTROLS:
            tell(name, seed, control_scores(name, seed, labelled, study, runs))
        for name in study.arms:
            tell(name, seed, arm_scores(name, seed, labelled, train, study, runs))


if __name__ == "__main__":
    tyro.cli(main)
