"""What two CPU cores learn of CIFAR-10 in half an hour, and what each trick of the laptop preset adds.

    python -m benchmarks.laptop preset [--minutes 30] [--seeds 0 1 2] [--out FOLDER] [--json-file FILE]
    python -m benchmarks.laptop controls …
    python -m benchmarks.laptop twin …
    python -m benchmarks.laptop tricks --minutes 2 …

`preset` trains the preset with each seed; `controls` probes random weights and pixels beside it; `twin` trains it for
pixels, as mi-mae; `tricks` trains it without each of its tricks, with one that it leaves out, and a recipe that has
none. Every run has the same time: how many images that is, is measured first, all arms in turns, and kept in the
folder, so that interrupted runs go on and other seeds see as many. With `--device cuda` a GPU does the arithmetic of as
many images as two CPU cores would, whose speeds the folder must have. The pack lies in `shared/data` beside the
checkout; elsewhere `--data uoft-cs/cifar10` takes the images from the Hub.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from benchmarks.common import PAPER_LIKE, check_part
from benchmarks.packs import labelled_pack
from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.data.labelled import Labelled, open_labelled
from splatlearn.evaluation import EvaluationOptions, Extraction, evaluate
from splatlearn.evaluation.comparison import paired_difference
from splatlearn.models import ModelOptions
from splatlearn.runs.folder import environment
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions, pretrain
from splatlearn.training.pretraining.laptop import ENCODER, LEFT_OUT, TRICKS, Trick, laptop_recipe

PRESET = "laptop preset"
KEYS = ("knn", "linear")
RATES = "rates.json"
ROUNDS = 3
"""Times that every arm's speed is measured; the median counts."""
STEPS = 25
"""Steps of a measurement."""


@dataclass(frozen=True)
class Options:
    """How long, how often and how it is judged."""

    minutes: float = 30.0
    """Of training, for every run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, order, crops and masks."""
    threads: int = 2
    """Cores that train."""
    data: str | None = None
    """Labelled images, a folder or a Hub name, in place of the pack of cifar10."""
    probed: int | None = None
    """Labelled images that the probes learn from; all by default. All validation images judge."""
    part: tuple[int, int] = (0, 1)
    """(i, n) does every n-th run from the i-th, for n processes beside one another."""
    device: str = "cpu"
    """Where runs train and are judged, cpu or cuda; the time is always that of CPU cores."""
    workers: int = 1
    """Processes that decode and crop for a run."""
    out: Path = Path("runs/laptop")
    """Folder of the runs."""
    json_file: Path | None = None
    """Where the figures go."""


Given = Annotated[Options, tyro.conf.arg(name="")]
Make = Callable[[DataOptions, RunOptions], Recipe]


def plain_recipe(data: DataOptions, run: RunOptions) -> Recipe:
    """The paper's objective and choices about Gaussians, but for their grid, with a small decoder and no trick."""
    return Recipe(
        method="gmae",
        model=f"gmae_{ENCODER}",
        options=ModelOptions(decoder_depth=2, gaussians=256, gaussians_per_query=1, **PAPER_LIKE),
        objective=ObjectiveOptions(error="squared", visible_weight=0.0),
        # The default, said so that tricks can change it.
        optimizer=OptimizerOptions(base_learning_rate=1e-4),
        data=data,
        run=run,
    )


def arms() -> dict[str, Make]:
    """The preset, without each of its tricks, with what it leaves out, and the plain recipe."""

    def with_tricks(tricks: Iterable[Trick]) -> Make:
        def make(data: DataOptions, run: RunOptions) -> Recipe:
            return functools.reduce(lambda recipe, trick: trick(recipe), tricks, plain_recipe(data, run))

        return make

    # Information is shared between masks: without those there is none.
    gone = {name: {name} | ({"shared information"} if name == "several masks" else set()) for name in TRICKS}
    without = {
        f"without {name}": with_tricks([trick for other, trick in TRICKS.items() if other not in names])
        for name, names in gone.items()
    }
    more = {f"with {name}": with_tricks([*TRICKS.values(), trick]) for name, trick in LEFT_OUT.items()}
    return {PRESET: laptop_recipe} | without | more | {"plain": plain_recipe}


def recipe_of(make: Make, folder: Path, seed: int, epochs: int, given: Options) -> Recipe:
    """An arm's recipe for a seed and a number of epochs."""
    run = RunOptions(
        out=str(folder),
        seed=seed,
        device=given.device,
        precision="fp32",
        trackers=(),
        checkpoint_every=500,
        keep_checkpoints=1,
        resume=(folder / "checkpoints").exists(),
    )
    recipe = make(DataOptions(data=given.data or "cifar10", workers=given.workers), run)
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=epochs))


@dataclass(frozen=True)
class Share:
    """What an arm sees in its time: so many images, so often."""

    images: int
    epochs: int


def shares_of(made: Mapping[str, Make], labelled: Labelled, given: Options) -> dict[str, Share]:
    """The first so many images that each arm sees in the given time, by speeds that were measured in turns or are kept.

    All images several times where the time allows.
    """
    stored = given.out / RATES
    rates: dict[str, list[float]] = read_object(stored)
    missing = [name for name in made if name not in rates]
    if missing and given.device != "cpu":
        raise SystemExit(
            f"device: expected the speeds of CPU cores in {stored}, which has none of {', '.join(missing)}"
        )
    for _ in range(ROUNDS if missing else 0):
        for name in missing:
            with tempfile.TemporaryDirectory() as folder:
                # Images that grow begin fast and end slow: a run of one epoch sees all of their sizes.
                few = first(labelled, STEPS * _batch(made[name])).train
                result = pretrain(recipe_of(made[name], Path(folder) / "run", 0, 1, given), few)
            rates.setdefault(name, []).append(result.images_per_second)
    if missing:
        write_whole(stored, json.dumps(rates, indent=1) + "\n")
    found = {}
    for name in made:
        images = 60 * given.minutes * statistics.median(rates[name])
        epochs = max(1, round(images / len(labelled.train)))
        # A step has a whole batch.
        found[name] = Share(min(len(labelled.train), max(_batch(made[name]), round(images))), epochs)
    return found


def open_data(given: Options) -> Labelled:
    """The labelled images."""
    return labelled_pack("cifar10") if given.data is None else open_labelled(given.data)


def first(labelled: Labelled, images: int | None) -> Labelled:
    """The same with the first so many training images."""
    if images is None or images >= len(labelled.train):
        return labelled
    return dataclasses.replace(labelled, train=labelled.train.part(np.arange(images)))


def _batch(make: Make) -> int:
    return make(DataOptions(data=""), RunOptions(out="")).optimizer.batch_size


def found_file(name: str, seed: int, given: Options) -> Path:
    """Where the figures of an arm with a seed are kept, in its run's folder."""
    return given.out / f"{name.replace(' ', '-')}-{seed}" / "found.json"


def found_of(name: str, make: Make, seed: int, share: Share, labelled: Labelled, given: Options) -> dict[str, float]:
    """Train an arm with a seed and judge it, unless that is done."""
    stored = found_file(name, seed, given)
    folder = stored.parent
    if stored.is_file():
        return json.loads(stored.read_text(encoding="utf-8"))
    recipe = recipe_of(make, folder, seed, share.epochs, given)
    result = pretrain(recipe, first(labelled, share.images).train)
    if result.interrupted:
        raise SystemExit(f"stopped at step {result.steps} of {result.total}; the same command goes on from there")
    asked = EvaluationOptions(probes=KEYS, pooling="mean", controls=False, diagnostics=False)
    probed = first(labelled, given.probed)
    scores = evaluate(folder, probed, asked, Extraction(device=given.device), folder / "features").model.scores
    found = {
        "images": share.images,
        "epochs": share.epochs,
        "steps": result.steps,
        # Of the whole run, though an earlier call may have done a part of it.
        "minutes": result.total * recipe.optimizer.batch_size / result.images_per_second / 60,
        "views per second": result.images_per_second * (recipe.resolved().mutual.masks or 1),
        "loss": result.loss,
        **{score.probe: score.value for score in scores},
    }
    write_whole(stored, json.dumps(found, indent=2) + "\n")
    return found


def run(made: dict[str, Make], given: Options) -> None:
    """Train and judge arms with every seed, print the table and write the figures."""
    check_part(given.part)
    torch.set_num_threads(given.threads)
    labelled = open_data(given)
    shares = shares_of(made, labelled, given)
    # Seeds outside: what was interrupted has all arms of the seeds that are done.
    runs = [(seed, name) for seed in given.seeds for name in made]
    begin, step = given.part
    for seed, name in runs[begin::step]:
        found_of(name, made[name], seed, shares[name], labelled, given)
    found: dict[str, dict[int, dict[str, float]]] = {}
    for seed, name in runs:
        path = found_file(name, seed, given)
        if path.is_file():
            found.setdefault(name, {})[seed] = json.loads(path.read_text(encoding="utf-8"))
    print(table(found))
    if given.json_file is not None:
        options = {**dataclasses.asdict(given), "out": None, "json_file": None, "part": None}
        rates = {name: each for name, each in read_object(given.out / RATES).items() if name in made}
        facts = {"options": options, "images per second": rates, "found": found, "environment": environment()}
        write_whole(given.json_file, json.dumps(facts, indent=1) + "\n")


def table(found: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """Mean ± sd of every arm, and in brackets its difference from the first, paired by seed."""
    lines = ["| recipe | images × epochs | views/s | kNN | linear |", "|---|---|---|---|---|"]
    base: Mapping[int, Mapping[str, float]] | None = None
    for name, runs in found.items():
        one = next(iter(runs.values()))
        cells = [name, f"{one['images']:,} × {one['epochs']}"]
        cells += [f"{statistics.median(each['views per second'] for each in runs.values()):.0f}"]
        for key in KEYS:
            values: dict[int | None, float] = {seed: 100 * each[key] for seed, each in runs.items()}
            cell = f"{statistics.fmean(values.values()):.1f}"
            if len(values) > 1:
                cell += f" ± {statistics.stdev(values.values()):.1f}"
            if base is not None:
                before: dict[int | None, float] = {seed: 100 * each[key] for seed, each in base.items()}
                difference = paired_difference(before, values)
                mark = "\\*" if difference.exceeds_noise else ""
                cell += f" ({difference.mean:+.1f}{mark})"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
        base = base or runs
    note = (
        "\nTop-1 in %. Differences from the first row, paired by seed, are in brackets; \\* marks those whose 95 % "
        "interval excludes 0."
    )
    return "\n".join(lines) + "\n" + note


def preset(given: Given) -> None:
    """Train the preset with every seed."""
    run({PRESET: laptop_recipe}, given)


def twin(given: Given) -> None:
    """Train the preset for pixels in place of Gaussians with every seed."""
    run({"mi-mae": functools.partial(laptop_recipe, method="mi-mae")}, given)


def controls(given: Given) -> None:
    """Probe the first seed's run beside random weights of its encoder and raw pixels."""
    folder = found_file(PRESET, given.seeds[0], given).parent
    asked = EvaluationOptions(probes=KEYS, pooling="mean", diagnostics=False)
    labelled = first(open_data(given), given.probed)
    evaluation = evaluate(folder, labelled, asked, Extraction(device=given.device), folder / "features")
    found = {each.name: {score.probe: score.value for score in each.scores} for each in evaluation.subjects}
    for name, scores in found.items():
        print(f"{name}: " + ", ".join(f"{probe} {100 * value:.1f}" for probe, value in scores.items()))
    if given.json_file is not None:
        write_whole(given.json_file, json.dumps({"found": found, "environment": environment()}, indent=1) + "\n")


def tricks(given: Given) -> None:
    """Leave out one trick after the other."""
    run(arms(), given)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"preset": preset, "controls": controls, "twin": twin, "tricks": tricks}, config=(tyro.conf.OmitArgPrefixes,)
    )
