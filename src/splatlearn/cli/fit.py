"""`splatlearn fit IMAGE... --gaussians K --out DIR`: Gaussians of single images, without a model or from one's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor

from splatlearn.camera import Camera
from splatlearn.cli.clamping import to_write
from splatlearn.cli.notes import note_unused
from splatlearn.cli.pictures import MAX_SIZE, Pictures, write_png
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.which_model import described, load_gmae
from splatlearn.cli.written import say_written
from splatlearn.core.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.core.outputs import outputs_in
from splatlearn.device import choose_device
from splatlearn.files import SplatCloud, bake_pinhole, write_splats
from splatlearn.fitting import RefineOptions, initial_gaussians, refine
from splatlearn.gaussians import Gaussians
from splatlearn.models import GMAE
from splatlearn.zero_shot import Scene, read_scene

ENDINGS = ("-fit.png", ".ply")
"""Of the files of an image: the rendering and the Gaussians."""
SUMMARY = "fit.json"
GAUSSIANS = 1000
SMALLEST_ERROR = 1e-10
"""Mean squared error below which a fit counts as 100 dB."""
TRACE_POINTS = 20
"""Steps at which fit.json has the error."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted Gaussians of one image [1, 3, H, W], and PSNR (dB) with seconds since the start, by steps done."""

    gaussians: Gaussians
    trace: list[dict[str, float]]


def fit_command(
    images: tyro.conf.Positional[tuple[str, ...]],
    *,
    out: str,
    gaussians: int = GAUSSIANS,
    steps: int = 300,
    add: int = 0,
    run: str | None = None,
    refit_colors: bool = False,
    seed: int = 0,
    max_size: int = MAX_SIZE,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Fit Gaussians to each image through the renderer: NAME-fit.png, NAME.ply and, for all, fit.json.

    Args:
        images: Image files, or folders of them.
        out: Folder for the results.
        gaussians: Gaussians of an image at the start, where there is no RUN.
        steps: Gradient steps (Adam).
        add: Gaussians added on the way where the error is largest.
        run: Start from what this GMAE predicts: a run folder, model folder or Hub id. Default: from none,
            but from random places.
        refit_colors: Fit the colours in NAME.ply anew within [0, 1], where they leave it, so that viewers need not
            clamp them.
        seed: Fixes where Gaussians start.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    if gaussians < 1 or steps < 0:
        raise InputError(f"gaussians, steps: expected at least 1 and 0, got {gaussians} and {steps}")
    options = RefineOptions(add=add, seed=seed)
    note_unused({"gaussians": gaussians != GAUSSIANS and run is not None}, "with --run, whose model says how many")
    note_unused({"seed": seed != 0 and run is not None and not add}, "with --run, unless Gaussians are added")
    note_unused({"add": add > 0 and steps == 0}, "without --steps, on whose way Gaussians are added")
    pictures = Pictures(images, 1, max_size=max_size)
    names = [*(f"{name}{ending}" for name in pictures.names for ending in ENDINGS), SUMMARY]
    outputs = outputs_in(out, names, overwrite, inputs=pictures.files)
    on = choose_device(device)
    model = None if run is None else load_gmae(run, on)
    if model is not None:
        pictures.at_least(model.patch)
    results, notes = [], []
    with outputs.writing() as folder, progress_bar() as told:
        for batch in pictures:
            image, before = batch.images.to(on), len(results) + pictures.failed

            def watch(step: int, before: int = before) -> None:
                told("fit", before + step / max(1, steps), len(pictures.files), f"step {step} of {steps}")

            start = _start(model, image, gaussians, seed)
            options = replace(options, background=start.background, color=start.color)
            fit = fit_image(start.gaussians, image, steps, options, start.camera, watch)
            fitted = replace(start, gaussians=fit.gaussians)
            notes.append(_write(folder, batch.names[0], fitted, refit_colors))
            results.append({"image": batch.names[0], "gaussians": fit.gaussians.count, "trace": fit.trace})
        if results:
            write_whole(folder / SUMMARY, json.dumps(results, indent=2) + "\n")
    for result, note in zip(results, notes, strict=True):
        last = result["trace"][-1]
        text = f"{result['gaussians']} Gaussians, {last['psnr']:.2f} dB in {last['seconds']:.1f} s"
        print(f"{result['image']}: {text}{f'. {note}' if note else ''}")
    say_written(folder, outputs.written(), len(results), None if run is None else described(run))
    pictures.finish()
    return 0


def fit_image(
    start: Gaussians,
    image: Tensor,
    steps: int,
    options: RefineOptions,
    camera: Camera | None = None,
    told: Callable[[int], None] | None = None,
) -> Fit:
    """Refine the Gaussians of one image [1, 3, H, W], and note PSNR and seconds on the way.

    `told` is called with the steps done before each of them and at the end.
    """
    trace: list[dict[str, float]] = []
    every = max(1, steps // TRACE_POINTS)
    began = time.perf_counter()

    def watch(step: int, errors: Tensor) -> None:
        if told is not None:
            told(step)
        if step % every == 0 or step == steps:
            # JSON has no infinity, which an image of one colour may reach.
            psnr = float(-10.0 * errors[0].double().clamp_min(SMALLEST_ERROR).log10())
            trace.append({"step": step, "psnr": psnr, "seconds": time.perf_counter() - began})

    return Fit(refine(start, image, steps, options, camera, watch), trace)


def _start(model: GMAE | None, image: Tensor, count: int, seed: int) -> Scene:
    if model is not None:
        return read_scene(model, image)
    gaussians = initial_gaussians(image, count, torch.Generator().manual_seed(seed))
    return Scene(gaussians, Camera.gmae(image.shape[-2], image.shape[-1]))


def _write(folder: Path, name: str, fitted: Scene, refit: bool) -> str:
    """Write the files of an image, and return a note on what colours lose in its splat file."""
    picture, splats = (folder / f"{name}{ending}" for ending in ENDINGS)
    write_png(picture, fitted.rendering.color[0])
    shown, note = to_write(fitted, "ply", refit)
    baked, _ = bake_pinhole(shown.gaussians[0].to("cpu"), fitted.camera)
    write_splats(SplatCloud.from_gaussians(baked), splats, "ply")
    return note
