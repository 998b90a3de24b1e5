"""`splatlearn fit [RUN] IMAGE... --gaussians K --out DIR`: Gaussians of single images."""

from __future__ import annotations

import json
from dataclasses import replace

from splatlearn.cli.choices import MAX_SIZE, Images, Run
from splatlearn.cli.notes import note_unused
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.disk.outputs import outputs_in
from splatlearn.core.errors import InputError

SUMMARY = "fit.json"
GAUSSIANS = 1000


def fit_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    gaussians: int = GAUSSIANS,
    steps: int = 300,
    add: int = 0,
    refit_colors: bool = False,
    seed: int = 0,
    max_size: int = MAX_SIZE,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Fit Gaussians to each image through the renderer: NAME-fit.png, NAME.ply and, for all, fit.json.

    Args:
        run: The GMAE whose prediction is the start: a run folder, checkpoint folder, model folder or Hub id. Default:
            none; Gaussians start at random places.
        images: Image files, or folders of them.
        out: Folder for the results.
        gaussians: Gaussians of an image at the start, where there is no RUN.
        steps: Gradient steps (Adam).
        add: Gaussians added on the way where the error is largest.
        refit_colors: Fit the colours in NAME.ply anew within [0, 1], where they leave it, so that viewers need not
            clamp them.
        seed: Fixes where Gaussians start.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    from splatlearn.cli.fitted import ENDINGS, fit_image, start_of, write_fit
    from splatlearn.cli.pictures import Pictures
    from splatlearn.cli.progress import progress_bar
    from splatlearn.cli.which_model import described, load_gmae, start_and_images
    from splatlearn.cli.written import say_written
    from splatlearn.core.device import choose_device
    from splatlearn.fitting import FitOptions

    run, images = start_and_images(run, images)
    if gaussians < 1 or steps < 0:
        raise InputError(f"gaussians, steps: expected at least 1 and 0, got {gaussians} and {steps}")
    options = FitOptions(add=add, seed=seed)
    note_unused({"gaussians": gaussians != GAUSSIANS and run is not None}, "with RUN, whose model says how many")
    note_unused({"seed": seed != 0 and run is not None and not add}, "with RUN, unless Gaussians are added")
    note_unused({"add": add > 0 and steps == 0}, "without --steps, on whose way Gaussians are added")
    pictures = Pictures(images, 1, max_size=max_size)
    names = [*(f"{name}{ending}" for name in pictures.names for ending in ENDINGS), SUMMARY]
    outputs = outputs_in(out, names, overwrite, inputs=pictures.files)
    on = choose_device(device)
    model = None if run is None else load_gmae(run, on)
    if model is not None:
        pictures.at_least(model.patch_size)
    results, notes = [], []
    with outputs.writing() as folder, progress_bar() as told:
        for batch in pictures:
            image, before = batch.images.to(on), len(results) + pictures.failed

            def watch(step: int, before: int = before) -> None:
                told("fit", before + step / max(1, steps), len(pictures.files), f"step {step} of {steps}")

            start = start_of(model, image, gaussians, seed)
            options = replace(options, background=start.background, color=start.color)
            fit = fit_image(start.gaussians, image, steps, options, start.camera, watch)
            fitted = replace(start, gaussians=fit.gaussians)
            notes.append(write_fit(folder, batch.names[0], fitted, refit_colors))
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
