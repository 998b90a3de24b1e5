"""What `layers`, `segment` and `edges` write of images, and how they go through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from splatlearn.cli.choices import Reading
from splatlearn.cli.clamping import LayerLoss, refitted
from splatlearn.cli.notes import changed, note, note_unused
from splatlearn.cli.pictures import PictureBatch, Pictures, write_png
from splatlearn.cli.progress import Told, progress_bar
from splatlearn.cli.which_model import described, load_gmae, model_and_images
from splatlearn.cli.written import say_written
from splatlearn.core.device import choose_device
from splatlearn.core.disk.outputs import outputs_in
from splatlearn.core.numbers import check_whole
from splatlearn.models import GMAE
from splatlearn.zero_shot import (
    EdgeOptions,
    FigureOptions,
    ImageGaussians,
    ReadOptions,
    edges_of,
    figure_ground_of,
    gaussians_of,
    layers_of,
)
from splatlearn.zero_shot.choices import Rule, Sizing
from splatlearn.zero_shot.reading import check_options
from splatlearn.zero_shot.slabs import check_count

MOST_LAYERS = 10_000
"""Files of an image."""
Write = Callable[[PictureBatch, ImageGaussians], Iterable[Sequence[Tensor]]]
"""Makes the pictures of every image of a batch, in the order of the endings of their files."""


@dataclass(frozen=True)
class Destination:
    """The folder that the pictures of images go to, and whether those of an earlier call are replaced."""

    out: str
    overwrite: bool


@dataclass(frozen=True)
class ReadOut:
    """What a command makes of images.

    - `what`: its name on the bar; `endings`: of the files NAME… that `write` makes the pictures of.
    - `note`: what is to be printed at the end.
    - `check`: refuses a model, before any image is read, for which the command's options cannot work.
    """

    what: str
    endings: tuple[str, ...]
    write: Write
    note: Callable[[], str] = str
    check: Callable[[GMAE], None] = lambda model: None


def layers_made(count: int, rule: Rule, refit: bool, sizing: Sizing) -> ReadOut:
    """The rendering and its layers, near to far."""
    check_whole("count", count, 1, MOST_LAYERS)
    lost = LayerLoss()

    def check(model: GMAE) -> None:
        # Several windows have more Gaussians than the model makes of one; how many, the images say.
        if sizing == "resize":
            check_count(count, model.config.gaussians)

    def write(batch: PictureBatch, read: ImageGaussians) -> Iterable[Sequence[Tensor]]:
        found = layers_of(refitted(read) if refit else read, count, rule)
        lost.measure(batch.names, found, read)
        for whole, each in zip(read.rendering.color, found, strict=True):
            yield [whole, *each]

    endings = ("-rendering.png", *(f"-layer-{number:02d}.png" for number in range(1, count + 1)))
    return ReadOut("layers", endings, write, lost.said, check)


def figures_made(options: FigureOptions) -> ReadOut:
    """The soft mask, the mask, and the image with the soft mask as its alpha."""

    def write(batch: PictureBatch, read: ImageGaussians) -> Iterable[Sequence[Tensor]]:
        for image, soft in zip(batch.images, figure_ground_of(read, options).cpu(), strict=True):
            yield [soft, (soft >= 0.5).float(), torch.cat([image, soft.unsqueeze(0)])]

    return ReadOut("figure and ground", ("-soft.png", "-mask.png", "-figure.png"), write)


def edges_made(options: EdgeOptions) -> ReadOut:
    """The edges."""

    def write(batch: PictureBatch, read: ImageGaussians) -> Iterable[Sequence[Tensor]]:
        for found in edges_of(read, options):
            yield [found]

    return ReadOut("edges", ("-edges.png",), write)


def read_options(reading: Reading) -> ReadOptions:
    """What `gaussians_of` takes; says which options have no effect."""
    if reading.sizing != "windows":
        note_unused(changed(reading, "window", "overlap"), "without --sizing windows")
    return ReadOptions(reading.sizing, reading.window, reading.overlap, reading.fit_steps)


def read_out(
    run: str | None,
    images: tuple[str, ...],
    where: Destination,
    max_size: int,
    reading: Reading,
    made: ReadOut,
) -> int:
    """Write what is made of images. Raises InputError at the end for images that were left out."""
    # It brings matplotlib.
    from splatlearn.report.hardly_trained import hardly_trained

    options = read_options(reading)
    run, images = model_and_images(run, images)
    pictures = Pictures(images, reading.batch_size, max_size=max_size)
    names = [f"{name}{ending}" for name in pictures.names for ending in made.endings]
    outputs = outputs_in(where.out, names, where.overwrite, inputs=pictures.files)
    device = choose_device(reading.device)
    model = load_gmae(run, device)
    pictures.at_least(model.patch_size)
    check_options(model, options)
    made.check(model)
    done, written = 0, []
    hardly = None
    with outputs.writing() as folder, progress_bar() as told:
        for batch in pictures:
            at_hand = partial(part_of, told, made.what, done + pictures.failed, len(batch.names), len(pictures.files))
            read = gaussians_of(model, batch.images.to(device), options, at_hand)
            hardly = hardly if done else hardly_trained(run, model, batch.images)
            for name, found in zip(batch.names, made.write(batch, read), strict=True):
                for ending, pixels in zip(made.endings, found, strict=True):
                    write_png(folder / f"{name}{ending}", pixels)
                    written.append(f"{name}{ending}")
            done += len(batch.names)
            told(made.what, done + pictures.failed, len(pictures.files))
    say_written(folder, written, done, described(run))
    if hardly:
        note(f"{run} is {hardly}")
    if text := made.note():
        print(text)
    pictures.finish()
    return 0


def part_of(told: Told, what: str, before: int, images: int, of: int, parts: str, done: int, total: int) -> None:
    """Tell how much of a batch of images is read, as `gaussians_of` tells it, after those that came before."""
    told(what, before + images * done / total, of, f"{parts} {done} of {total}")
