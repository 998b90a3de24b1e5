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
    """Fit Gaussians to each image by gradient descent; write NAME-fit.png, NAME.ply and, for all images, fit.json.

    Args:
        run: A GMAE whose prediction the fit starts from: a run folder, checkpoint folder, model folder or Hub id.
            Default: none; Gaussians start at random positions.
        images: Image files or folders of images.
        out: Folder for the results.
        gaussians: Initial number of Gaussians for each image if no RUN is given.
        steps: Number of gradient steps (Adam).
        add: Number of Gaussians to add during the fit, where the error is largest.
        refit_colors: Refit the colours in NAME.ply within [0, 1] if any lie outside, so that viewers do not clamp them.
        seed: Seed of the random initial Gaussians.
        max_size: Longer side, in pixels, to which larger images are shrunk; outputs have the same size. 0 keeps the
            original size.
        device: The device: auto, cpu, cuda, cuda:1 or mps.
        overwrite: Replace files that an earlier call wrote to the folder.
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
