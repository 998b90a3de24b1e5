"""Which choices make a GMAE good: one factor at a time, equal steps, figures of merit for paint, labels and space.

    python -m benchmarks.ablations --factors depth --seeds 0 1 2 [--steps 900] [--out FOLDER] [--json-file FILE]

Every arm is the base recipe with one thing changed; the base is trained once for all factors. Runs that are there are
not made again. The packs and the benchmarks' photographs lie in `shared/data` beside the checkout.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from skimage.metrics import structural_similarity

from benchmarks.ablation_arms import FACTORS, Change
from benchmarks.common import PAPER_LIKE, check_part
from benchmarks.packs import FOLDER, labelled_pack
from splatlearn.cli.benchmark import BenchmarkInput
from splatlearn.cli.scoring import edge_tables, figure_tables
from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.data import resize_center_crop
from splatlearn.data.labelled import Labelled
from splatlearn.evaluation import masked_psnr
from splatlearn.evaluation.boundaries.contenders import READ_OUTS, gmae_edges
from splatlearn.evaluation.comparison import paired_difference
from splatlearn.evaluation.masked.reconstruction import evaluating, shown_image
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.saliency.contenders import READ_OUTS as FIGURES
from splatlearn.evaluation.saliency.contenders import gmae_figures
from splatlearn.evaluation.suite import evaluate
from splatlearn.models import GMAE, ModelOptions, load_model, random_mask
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.runs.folder import environment
from splatlearn.training import DataOptions, ObjectiveOptions, OptimizerOptions, Recipe, RunOptions, pretrain

BASE = "base"
SIDE, PATCH = 64, 8
JUDGED = 256
"""Validation images whose hidden pixels are compared."""
LONG = ("psnr", "ssim", "knn", "linear", "ods", "iou cats", "iou people")
"""Figures of merit; of read-outs, those named below."""
EDGES, FIGURE = "soft", "groups"
BRIEF_FIGURES = {name: FIGURES[name] for name in (FIGURE, "mixtures")}
"""Where little time is, also what `segment` does unless told otherwise."""


@dataclass(frozen=True)
class Options:
    """What is trained and how it is judged."""

    factors: tuple[str, ...] = tuple(FACTORS)
    """Factors whose levels are compared with the base, or single arms, as "tuned both"."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, order, crops and masks."""
    encoder: Literal["micro", "tiny", "small"] = "tiny"
    """Of every arm."""
    steps: int = 900
    """Of every arm, about: whole epochs."""
    batch_size: int = 32
    """Images of a step."""
    images: int = 10_000
    """Training images of tiny_imagenet50."""
    learning_rate: float = 5e-4
    """Peak."""
    photos: int = 20
    """Photographs of each benchmark of space, the first by name; 0 leaves space out."""
    brief: bool = False
    """Score the read-outs of the table alone, with one process."""
    probed: int = 4000
    """Labelled images that the probes learn from."""
    out: Path = Path("runs/ablations")
    """Folder of the runs."""
    part: tuple[int, int] = (0, 1)
    """(i, n) does every n-th run from the i-th, for n processes beside one another."""
    device: str = "cpu"
    """Where runs train, cpu or cuda; they are judged on the CPU."""
    workers: int = 1
    """Processes that decode and crop for a run."""
    json_file: Path | None = None
    """Where the figures go, beside those of runs that it has already, which are not made again."""


def base_recipe(given: Options, folder: Path, seed: int) -> Recipe:
    """What every arm starts from."""
    return Recipe(
        method="gmae",
        model=f"gmae_vit_{given.encoder}_patch{PATCH}_{SIDE}",
        options=ModelOptions(decoder_depth=2, gaussians=256, gaussians_per_query=16, **PAPER_LIKE),
        data=DataOptions(data=f"tiny_imagenet50, {given.images} images", crop_scale=(0.3, 1.0), workers=given.workers),
        objective=ObjectiveOptions(error="squared", visible_weight=0.0),
        optimizer=OptimizerOptions(
            epochs=max(1, round(given.steps * given.batch_size / given.images)),
            batch_size=given.batch_size,
            base_learning_rate=given.learning_rate * 256 / given.batch_size,
            warmup_epochs=0.5,
        ),
        run=RunOptions(
            out=str(folder),
            seed=seed,
            device=given.device,
            # As on the CPUs that most runs were made on.
            precision="fp32",
            trackers=(),
            checkpoint_every=500,
            keep_checkpoints=1,
        ),
    )


def arms(given: Options) -> dict[str, Change]:
    """Every arm by name, the base first. Raises ValueError for an unknown factor."""
    named = {
        factor: {f"{factor} {level}": each for level, each in levels.items()} for factor, levels in FACTORS.items()
    }
    single = {name: {name: each} for arms in named.values() for name, each in arms.items()}
    for name in set(given.factors) - set(named) - set(single):
        raise ValueError(f"factors: expected some of {', '.join(FACTORS)}, or one of their arms, got {name!r}")
    found: dict[str, Change] = {BASE: lambda recipe: recipe}
    for name in given.factors:
        found |= named.get(name) or single[name]
    return found


def judgement(name: str, seed: int, given: Options) -> Path:
    """Where the figures of an arm with a seed are kept, in its run's folder."""
    return given.out / f"{name.replace(' ', '-')}-{seed}" / "judged.json"


def trained(name: str, change: Change, seed: int, given: Options) -> float:
    """Train an arm with a seed, or go on; returns its views per second."""
    folder = judgement(name, seed, given).parent
    base = base_recipe(given, folder, seed)
    recipe = change(base)
    # As many views for every arm: with several masks an epoch of all images may be more than the base sees in all.
    views = base.optimizer.epochs * given.images
    masks = recipe.resolved().mutual.masks or 1
    images = min(given.images, views // (masks * recipe.optimizer.epochs))
    labelled = labelled_pack("tiny_imagenet50", train_images=images)
    if (folder / "checkpoints").exists():
        recipe = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, resume=True))
    result = pretrain(recipe, labelled.train.source)
    if result.interrupted:
        raise SystemExit(f"stopped at step {result.steps} of {result.total}; the same command goes on from there")
    return masks * result.images_per_second


def judged(name: str, change: Change, seed: int, given: Options) -> dict[str, float]:
    """Train an arm with a seed and judge it, unless that is done."""
    stored = judgement(name, seed, given)
    if stored.is_file():
        return json.loads(stored.read_text(encoding="utf-8"))
    speed = trained(name, change, seed, given)
    model = load_model(stored.parent)
    found = {"images per second": speed, **learned(model, given)}
    if not Recipe.read(stored.parent / "recipe.json").objective.normalize_targets:
        found |= painted(model, labelled_pack("tiny_imagenet50"))
    if given.photos and isinstance(model, GMAE):
        found |= seen(model, given)
    stored.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def painted(model: MaskedAutoencoder, labelled: Labelled) -> dict[str, float]:
    """PSNR on hidden pixels in dB, and SSIM, of validation images."""
    images = labelled.val.source
    pixels = torch.stack(
        [
            torch.from_numpy(resize_center_crop(images[index].image, SIDE, SIDE))
            for index in range(min(JUDGED, len(images)))
        ]
    )
    shown = pixels.float() / 255
    mask = random_mask(len(shown), (SIDE // PATCH, SIDE // PATCH), 0.75, torch.Generator().manual_seed(0))
    found = masked_psnr(model, shown, mask)
    with evaluating(model):
        rebuilt = shown_image(model(shown, mask).image, shown, PATCH)
    # Typed by scikit-image as a number or one of its tuples.
    similar: list[Any] = [
        structural_similarity(first.numpy(), second.numpy(), channel_axis=0, data_range=1.0)
        for first, second in zip(rebuilt, shown, strict=True)
    ]
    return {
        "psnr": found["masked_psnr_model"],
        "psnr of the mean": found["masked_psnr_mean"],
        "ssim": statistics.fmean(similar),
    }


def learned(model: MaskedAutoencoder, given: Options) -> dict[str, float]:
    """Accuracies of kNN and of the linear probe on the mean of the patches' tokens."""
    probed = labelled_pack("tiny_imagenet50", given.probed)
    wanted = EvaluationOptions(probes=("knn", "linear"), pooling="mean", controls=False, diagnostics=False)
    return {score.probe: score.value for score in evaluate(model, probed, wanted).model.scores}


def seen(model: GMAE, given: Options) -> dict[str, float]:
    """ODS of edges on BSDS500 and IoU of figures in both groups, zero-shot and without a fit."""
    edges, figures = gmae_edges(model), gmae_figures(model)
    facts: dict[str, Any] = {"limit": given.photos}
    if given.brief:
        edges = gmae_edges(model, read_outs={EDGES: READ_OUTS[EDGES]})
        figures, facts = gmae_figures(model, read_outs=BRIEF_FIGURES), facts | {"processes": 1}
    edges = edge_tables([edges], BenchmarkInput(str(FOLDER / "bsds500"), thresholds=33, **facts))
    figures = figure_tables([figures], BenchmarkInput(str(FOLDER / "figure_ground"), **facts))
    found = {"ods": next(iter(edges.values()))[f"GMAE, {EDGES}"]["ods"]}
    for title, rows in figures.items():
        found[f"iou {title.split(',')[0]}"] = rows[f"GMAE, {FIGURE}"]["iou"]
    named = {"edges": next(iter(edges.values())), **{title.split(",")[0]: rows for title, rows in figures.items()}}
    for kind, rows in named.items():
        found |= {f"{kind}, {name}: {key}": value for name, each in rows.items() for key, value in each.items()}
    return found


def table(found: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """Mean ± sd of every arm, and below each the difference from the base, paired by seed, with its 95 % interval."""
    keys = [key for key in LONG if any(key in each for arm in found.values() for each in arm.values())]
    lines = ["| arm | images/s | " + " | ".join(keys) + " |", "|---" * (len(keys) + 2) + "|"]
    for name, arm in found.items():
        speed = statistics.median(each["images per second"] for each in arm.values())
        cells = []
        for key in keys:
            if not all(key in each for each in arm.values()):
                cells.append("–")
                continue
            values: dict[int | None, float] = {seed: each[key] for seed, each in arm.items()}
            cell = f"{statistics.fmean(values.values()):.3f}"
            if len(values) > 1:
                cell += f" ± {statistics.stdev(values.values()):.3f}"
            if name != BASE:
                base: dict[int | None, float] = {seed: each[key] for seed, each in found[BASE].items()}
                difference = paired_difference(base, values)
                mark = "\\*" if difference.exceeds_noise else ""
                cell += f" ({difference.mean:+.3f}{mark})"
            cells.append(cell)
        lines.append(f"| {name} | {speed:.0f} | " + " | ".join(cells) + " |")
    lines.append("")
    lines.append(
        "Differences from the base, paired by seed, are in brackets; \\* marks those whose 95 % interval by Student's "
        "t excludes 0."
    )
    return "\n".join(lines)


Found = dict[str, dict[int, dict[str, float]]]
ASIDE = ("factors", "seeds", "out", "part", "device", "workers", "json_file")
"""Options that change no figure of a run."""


def settings(given: Options) -> dict[str, Any]:
    """What the figures of a run depend on."""
    return {name: value for name, value in dataclasses.asdict(given).items() if name not in ASIDE}


def known(given: Options) -> Found:
    """The figures of runs that the file has. Raises ValueError where those were made with other settings."""
    stored = {} if given.json_file is None else read_object(given.json_file)
    if not stored:
        return {}
    if stored["settings"] != settings(given):
        raise ValueError(
            f"json_file: {given.json_file} has figures of other settings, {stored['settings']}, not "
            f"{settings(given)}; name another file"
        )
    return {name: {int(seed): each for seed, each in arm.items()} for name, arm in stored["found"].items()}


def main(given: Options) -> None:
    """Train and judge every arm with every seed, or a part of the runs, and print the table of what there is."""
    check_part(given.part)
    made, found = arms(given), known(given)
    # Seeds outside: an interrupted study has all arms of the seeds that are done.
    runs = [(seed, name) for seed in given.seeds for name in made]
    begin, step = given.part
    for seed, name in runs[begin::step]:
        if seed not in found.get(name, {}):
            judged(name, made[name], seed, given)
    for seed, name in runs:
        stored = judgement(name, seed, given)
        if stored.is_file():
            found.setdefault(name, {})[seed] = json.loads(stored.read_text(encoding="utf-8"))
    print(table(found))
    if given.json_file is not None:
        facts = {"settings": settings(given), "found": found, "environment": environment()}
        write_whole(given.json_file, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
