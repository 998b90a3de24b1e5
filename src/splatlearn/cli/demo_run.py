"""What `splatlearn demo` does: weights of the package, a short training, and pages about both."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure
import torch
from rich.console import Console
from torch import Tensor

from splatlearn.cli import demo_scene as scenes
from splatlearn.cli.stopped import INTERRUPTED
from splatlearn.core.device import choose_device
from splatlearn.core.disk.atomic import replacing, write_whole
from splatlearn.core.disk.outputs import MARKER, Outputs, outputs_in, record, remove_listed, written_in
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import evenly_spaced
from splatlearn.data import (
    HELD_OUT_PHOTOS,
    ImageList,
    Photo,
    photo_crops,
    resize_center_crop,
    sample_photos,
    split_photos,
)
from splatlearn.data.image_sets.photos import PHOTOS
from splatlearn.evaluation import masked_psnr
from splatlearn.models import GMAE, Mask, load_model, random_mask
from splatlearn.models.folders.packaged import DEFAULT
from splatlearn.report import Section, model_sections, run_sections, write_page
from splatlearn.report.demo_picture import demo_picture
from splatlearn.report.run_pictures import zero_shot_section
from splatlearn.runs.folder import NAMES as RUN_NAMES
from splatlearn.runs.folder import RECIPE, environment
from splatlearn.runs.lock import HOLDER, LOCK, RunLock
from splatlearn.training import DataOptions, OptimizerOptions, Recipe, RunOptions, RunResult, pretrain
from splatlearn.training.pretraining.recipe import MASK_RATIO

PAGES = ("report.html", "summary.json", "picture.png", scenes.PAGE, scenes.FILM)
"""What the demo writes beside its run."""
FOLDERS = (scenes.RUN, scenes.PHOTOGRAPHS)
HIDDEN = (MARKER, LOCK, HOLDER)
SIDE, PATCH = 64, 8
"""Pixels a side of a training crop and of its patches."""
CROP_SIDE = 128
"""Pixels of the stored crops from which the random crops of SIDE are taken."""


@dataclass(frozen=True)
class UnseenSquares:
    """Squares of held-out photographs, with the masks under which they are judged."""

    images: Tensor
    mask: Mask
    names: list[str]


def demo(
    out: str = "runs/demo",
    short: bool = False,
    seed: int = 0,
    device: str = "auto",
    scratch: bool = False,
    overwrite: bool = False,
) -> int:
    """Show what the packaged GMAE sees, pre-train it further on a few sample photographs, and reconstruct a scene.

    The arguments are those of `splatlearn demo`. Returns the exit code.
    """
    console = Console(stderr=True, soft_wrap=True)
    began = time.perf_counter()
    start = None if scratch else DEFAULT
    recipe = demo_recipe(Path(out), short, seed, device, start)
    choose_device(device)
    outputs = _outputs(Path(out), overwrite)
    training, held_out = split_photos(sample_photos())
    crops = photo_crops(training, CROP_SIDE, scales=(1.0, 0.5, 0.25, 0.15))
    console.print(
        f"{len(crops)} crops of {len(training)} photographs; {', '.join(photo.name for photo in held_out)} stay unseen",
        highlight=False,
    )
    unseen = unseen_squares(held_out, recipe.objective.mask_ratio or MASK_RATIO)
    before: dict[str, float] = {}
    if start is not None:
        before = masked_psnr(load_model(start), unseen.images, unseen.mask)
        console.print(
            f"{start}, which comes with the package, paints their hidden pixels at "
            f"{before['masked_psnr_model']:.2f} dB; now it learns from the others",
            highlight=False,
        )
    with _writing(outputs, overwrite, scenes.scene_names(short)):
        result = pretrain(recipe, crops, claimed=True)
        if not result.steps:
            return INTERRUPTED
        summary = _summarise(result, unseen, began)
        if start is not None:
            summary |= {"start": start, "masked_psnr_start": before["masked_psnr_model"]}
        if told := _told(summary):
            console.print(told, highlight=False)
        sections = _sections(Path(out), result, unseen, summary)
        _write(Path(out), result, unseen, summary, sections)
        scene = None
        if not result.interrupted:
            scene = scenes.demo_scene(Path(out), short, seed, device, console)
        if scene is not None:
            summary |= {**scene.summary, "seconds": time.perf_counter() - began}
            _write(Path(out), result, unseen, summary, sections, scene.sections)
    took = time.perf_counter() - began
    if scene is not None and "scene_psnr" in summary:
        console.print(
            f"held-out pictures of the scene: {summary['scene_psnr']:.2f} dB after {summary['scene_seconds']:.0f} s of "
            f"fitting. Walk around in {Path(out) / scenes.PAGE}",
            highlight=False,
        )
    console.print(
        f"hidden pixels of unseen photos: {summary['masked_psnr_model']:.2f} dB, "
        f"the mean of the visible ones {summary['masked_psnr_mean']:.2f} dB. All of it took {took:.0f} s. "
        f"See {Path(out) / 'report.html'}",
        highlight=False,
    )
    return INTERRUPTED if result.interrupted or scene is None or scene.interrupted else 0


def demo_recipe(out: Path, short: bool, seed: int, device: str, start: str | None = None) -> Recipe:
    """The recipe of the demo: a small GMAE, small batches for many steps, a learning rate for a short run.

    From weights that are there it learns for a minute, at a rate that keeps what they know of other photographs; from
    fresh ones for three.
    """
    return Recipe(
        method="gmae",
        model=None if start else f"gmae_vit_tiny_patch{PATCH}_{SIDE}",
        start_from=start,
        data=DataOptions(data="the photographs of scikit-image and scikit-learn", crop_scale=(0.3, 1.0)),
        optimizer=OptimizerOptions(
            epochs=1 if short else 3 if start else 8,
            batch_size=16,
            base_learning_rate=1.2e-3 if start else 1.6e-2,
            warmup_epochs=0.2 if start else 0.5,
        ),
        run=RunOptions(out=str(out), seed=seed, device=device, checkpoint_every=10_000, trackers=()),
    )


def _outputs(out: Path, overwrite: bool) -> Outputs:
    """Check that a demo may be written into the folder: a new or empty one, or that of an earlier demo.

    Raises InputError for any other, such as a run, and for an earlier demo unless `overwrite`.
    """
    listed = written_in(out)
    if out.is_dir() and RECIPE not in listed and any(each.name not in HIDDEN for each in out.iterdir()):
        what = "a run" if (out / RECIPE).exists() else "other files"
        raise InputError(
            f"out: expected a new folder or the folder of an earlier demo, got {out}, which holds {what}; "
            "choose another with --out"
        )
    outputs = outputs_in(out, PAGES, overwrite)
    begun = [name for name in RUN_NAMES if os.path.lexists(out / name)]
    if begun and not overwrite:
        raise InputError(f"out: {out} holds an earlier demo; choose another folder with --out, or give --overwrite")
    # What a killed process left of a checkpoint begins with a dot.
    mine = [name for name in _run_files(out) if not any(part.startswith(".") for part in name.split("/"))]
    if added := [name for name in mine if name not in listed]:
        raise InputError(
            f"out: the earlier demo in {out} did not write {added[0]}; choose another folder with --out, or move the "
            "file away"
        )
    return outputs


@contextmanager
def _writing(outputs: Outputs, overwrite: bool, names: Sequence[str]) -> Iterator[None]:
    """Take an earlier demo away, and list what this one writes before it is written, `names` among it."""
    out = outputs.folder
    if overwrite and out.is_dir():
        # Another process may be at work in it.
        with RunLock(out):
            record(out, _run_files(out))
            remove_listed(
                out, [name for name in written_in(out) if name.split("/")[0] in {*PAGES, *RUN_NAMES, *FOLDERS}]
            )
    with outputs.writing():
        record(out, [*(name for name in RUN_NAMES if "." in name), *names])
        try:
            yield
        finally:
            record(out, _run_files(out))


def _run_files(out: Path) -> list[str]:
    """The names of the files of a demo's runs in its folder."""
    found = [
        file
        for name in (*RUN_NAMES, *FOLDERS)
        for file in ((out / name).rglob("*") if (out / name).is_dir() else [out / name])
        if os.path.lexists(file) and not file.is_dir()
    ]
    return [file.relative_to(out).as_posix() for file in found]


def unseen_squares(photos: list[Photo], ratio: float) -> UnseenSquares:
    """Squares of three sizes that tile the held-out photographs, with fixed masks of a share `ratio` of the patches."""
    squares: ImageList = photo_crops(photos, SIDE, scales=(1.0, 0.5, 0.25), overlap=0.0)
    samples = [squares[index] for index in range(len(squares))]
    pixels = [torch.from_numpy(resize_center_crop(sample.image, SIDE, SIDE)) for sample in samples]
    images = torch.stack(pixels).float() / 255
    grid = (SIDE // PATCH, SIDE // PATCH)
    mask = random_mask(len(images), grid, ratio, torch.Generator().manual_seed(0))
    return UnseenSquares(images, mask, [sample.name for sample in samples])


def _summarise(result: RunResult, unseen: UnseenSquares, began: float) -> dict[str, float | int | str]:
    model = load_model(result.folder)
    scores = masked_psnr(model, unseen.images, unseen.mask)
    return {
        **scores,
        "gain_db": scores["masked_psnr_model"] - scores["masked_psnr_mean"],
        "unseen_crops": len(unseen.images),
        "steps": result.steps,
        "steps_in_all": result.total,
        "loss": result.loss,
        "images_per_second": result.images_per_second,
        "training_seconds": result.seconds,
        "seconds": time.perf_counter() - began,
        "processor": str(environment()["processor"]),
    }


def _shown(unseen: UnseenSquares) -> tuple[Tensor, Mask, list[str]]:
    """Some of the squares for the page, with their masks and names."""
    shown = evenly_spaced(len(unseen.images), 6)
    mask = Mask(unseen.mask.visible[shown], unseen.mask.hidden[shown], unseen.mask.grid)
    return unseen.images[shown], mask, [unseen.names[index] for index in shown]


def _sections(out: Path, result: RunResult, unseen: UnseenSquares, summary: dict) -> list[Section]:
    """The sections about the model, which take their time."""
    model = load_model(result.folder)
    images, mask, names = _shown(unseen)
    facts = environment()
    assert isinstance(model, GMAE)
    start = summary.get("start")
    return [
        *([] if start is None else _as_it_comes(str(start), images, names)),
        *model_sections(model, images, mask, names),
        zero_shot_section(model, images, names),
        *run_sections(out, str(facts["command"]), facts["versions"]),
    ]


def _write(
    out: Path,
    result: RunResult,
    unseen: UnseenSquares,
    summary: dict,
    sections: Sequence[Section],
    scene: Sequence[Section] = (),
) -> None:
    write_whole(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    model, start = load_model(result.folder), summary.get("start")
    assert isinstance(model, GMAE)
    images, mask, _ = _shown(unseen)
    seen = len(PHOTOS) - len(HELD_OUT_PHOTOS)
    begun = "" if start is None else f" It began with the package's {start} at {summary['masked_psnr_start']:.2f} dB."
    lead = (
        f"A {result.steps}-step pre-training run on {SIDE}-pixel crops of {seen} photographs. Its pictures are of two "
        f"others that it never saw. On their hidden pixels it reaches "
        f"{summary['masked_psnr_model']:.2f} dB, where the "
        f"mean of the visible pixels reaches {summary['masked_psnr_mean']:.2f} dB.{begun}"
    )
    if scene:
        lead += " The scene, which comes first, was reconstructed from pictures with known cameras, without a model."
    if told := _told(summary):
        lead = f"{told}. {lead}"
    write_page(out / "report.html", "splatlearn demo", lead, [*scene, *sections])
    picture: matplotlib.figure.Figure = demo_picture(
        model, images[:4], Mask(mask.visible[:4], mask.hidden[:4], mask.grid), _told(summary)
    )
    with replacing(out / "picture.png") as beside:
        picture.savefig(beside, dpi=160, format="png")


def _told(summary: dict[str, float | int | str]) -> str | None:
    """What a demo says that was stopped before it painted better than the mean colour."""
    if float(summary["masked_psnr_model"]) >= float(summary["masked_psnr_mean"]):
        return None
    return f"hardly trained: step {summary['steps']} of {summary['steps_in_all']}"


def _as_it_comes(start: str, images: Tensor, names: list[str]) -> list[Section]:
    model = load_model(start)
    assert isinstance(model, GMAE)
    intro = f"What {start} sees before it learns from these photographs: the weights that come with the package."
    return [zero_shot_section(model, images, names, "As it comes", intro)]
