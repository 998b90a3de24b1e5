"""`splatlearn layers|segment|edges RUN IMAGE... --out DIR`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import tyro
from torch import Tensor

from splatlearn.cli.clamping import LayerLoss, refitted
from splatlearn.cli.notes import changed, note, note_unused
from splatlearn.cli.pictures import MAX_SIZE, PictureBatch, Pictures, write_png
from splatlearn.cli.progress import Told, progress_bar
from splatlearn.cli.which_model import described, load_gmae, model_and_images
from splatlearn.cli.written import say_written
from splatlearn.core.errors import InputError
from splatlearn.core.outputs import outputs_in
from splatlearn.device import choose_device
from splatlearn.models import GMAE
from splatlearn.zero_shot import (
    EdgeOptions,
    FigureOptions,
    ReadOptions,
    Scene,
    edges_of,
    figure_ground_of,
    layers_of,
    read_scene,
)
from splatlearn.zero_shot.choices import SIGMA, EdgeMethod, FigureMethod
from splatlearn.zero_shot.edges import Cue
from splatlearn.zero_shot.figure_ground import Side
from splatlearn.zero_shot.scene import Sizing, check_options
from splatlearn.zero_shot.slabs import Rule, check_count


@dataclass(frozen=True)
class Reading:
    """How images are shown to the model."""

    sizing: Sizing = "resize"
    """resize: the whole image at the model's size; windows: overlapping windows, blended."""
    window: int | None = None
    """Height of a window in pixels of the image. Default: the largest that fits."""
    overlap: float = 0.5
    """Smallest share of a window that its neighbour covers too."""
    refine: int = 0
    """Gradient steps through the renderer before the read-out, at the image's own size."""
    batch_size: int = 8
    """Images of equal size that are read together."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""

    def options(self) -> ReadOptions:
        """What `read_scene` takes; says which of them have no effect."""
        if self.sizing != "windows":
            note_unused(changed(self, "window", "overlap"), "without --sizing windows")
        return ReadOptions(self.sizing, self.window, self.overlap, self.refine)


Read = Annotated[Reading, tyro.conf.arg(name="")]
Run = tyro.conf.Positional[str | None]
Images = tyro.conf.Positional[tuple[str, ...]]


Write = Callable[[PictureBatch, Scene], Iterable[Sequence[Tensor]]]
"""Makes the pictures of every image of a batch, in the order of the endings of their files."""


def layers_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    count: int = 8,
    rule: Rule = "count",
    refit_colors: bool = False,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = Reading(),
) -> int:
    """Cut images into layers by depth: NAME-layer-01.png, the nearest, and so on, transparent, and NAME-rendering.png.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        count: Number of layers.
        rule: count: as many Gaussians in each; visible: as much of the picture; clusters: k-means of depths.
        refit_colors: Fit the Gaussians' colours anew within [0, 1], which PNG files hold, so that the layers put over
            one another stay close to the rendering. Without it, colours are clamped.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    if count < 1:
        raise InputError(f"count: expected at least 1 layer, got {count}")
    endings = ("-rendering.png", *(f"-layer-{number:02d}.png" for number in range(1, count + 1)))
    lost = LayerLoss()

    def check(model: GMAE) -> None:
        # Several windows have more Gaussians than the model makes of one; how many, the images say.
        if reading.sizing == "resize":
            check_count(count, model.config.gaussians)

    def write(batch: PictureBatch, scene: Scene) -> Iterable[Sequence[Tensor]]:
        found = layers_of(refitted(scene) if refit_colors else scene, count, rule)
        lost.measure(batch.names, found, scene)
        for whole, each in zip(scene.rendering.color, found, strict=True):
            yield [whole, *each]

    made = ReadOut("layers", endings, write, lost.said, check)
    return _read_out(run, images, Destination(out, overwrite), max_size, reading, made)


def segment_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    method: FigureMethod = "mixtures",
    side: Side = "near",
    center: bool = False,
    groups: int = 8,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = Reading(),
) -> int:
    """Tell figure from ground: NAME-soft.png, NAME-mask.png (black and white) and NAME-figure.png (transparent ground).

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: mixtures: the Gaussians' colours inside a margin against those around; groups: clusters of Gaussians
            that do not touch the border; order: one cut of the depth order; depth: a cut of composited depth.
        side: Which side of a cut in depth is figure: the near one, or the one that holds less of the border.
        center: Weigh by how near the image's middle a pixel is.
        groups: Number of clusters.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    options = FigureOptions(method, side, center, groups=groups)
    note_unused({"side": side != "near" and method not in ("order", "depth")}, f"with --method {method}")
    note_unused({"groups": groups != 8 and method != "groups"}, "without --method groups")

    def write(batch: PictureBatch, scene: Scene) -> Iterable[Sequence[Tensor]]:
        for image, soft in zip(batch.images, figure_ground_of(scene, options).cpu(), strict=True):
            yield [soft, (soft >= 0.5).float(), torch.cat([image, soft.unsqueeze(0)])]

    made = ReadOut("figure and ground", ("-soft.png", "-mask.png", "-figure.png"), write)
    return _read_out(run, images, Destination(out, overwrite), max_size, reading, made)


def edges_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    method: EdgeMethod = "soft",
    cues: tuple[Cue, ...] | None = None,
    sigma: float = EdgeOptions.sigma,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = Reading(),
) -> int:
    """Find edges: NAME-edges.png, white on black, as strong as they are bright.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: soft: gradients of composited channels; index: the paper's jumps of the layer index.
        cues: Channels of soft: layers, depth, color, tokens. Default: the first three; after refinement color.
        sigma: Smoothing before the gradient, pixels.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    options = EdgeOptions(method, cues=cues, sigma=sigma)
    if method == "index":
        note_unused({"cues": cues is not None, "sigma": sigma != SIGMA}, "with --method index")

    def write(batch: PictureBatch, scene: Scene) -> Iterable[Sequence[Tensor]]:
        for found in edges_of(scene, options):
            yield [found]

    made = ReadOut("edges", ("-edges.png",), write)
    return _read_out(run, images, Destination(out, overwrite), max_size, reading, made)


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


def _read_out(
    run: str | None,
    images: tuple[str, ...],
    where: Destination,
    max_size: int,
    reading: Reading,
    made: ReadOut,
) -> int:
    """Write what is made of the images' scenes. Raises InputError at the end for images that were left out."""
    # It brings matplotlib.
    from splatlearn.report.hardly_trained import hardly_trained

    options = reading.options()
    run, images = model_and_images(run, images)
    pictures = Pictures(images, reading.batch_size, max_size=max_size)
    names = [f"{name}{ending}" for name in pictures.names for ending in made.endings]
    outputs = outputs_in(where.out, names, where.overwrite, inputs=pictures.files)
    device = choose_device(reading.device)
    model = load_gmae(run, device)
    pictures.at_least(model.patch)
    check_options(model, options)
    made.check(model)
    done, written = 0, []
    hardly = None
    with outputs.writing() as folder, progress_bar() as told:
        for batch in pictures:
            at_hand = partial(part_of, told, made.what, done + pictures.failed, len(batch.names), len(pictures.files))
            scene = read_scene(model, batch.images.to(device), options, at_hand)
            hardly = hardly if done else hardly_trained(run, model, batch.images)
            for name, found in zip(batch.names, made.write(batch, scene), strict=True):
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
    """Tell how much of a batch of images is read, as `read_scene` tells it, after those that came before."""
    told(what, before + images * done / total, of, f"{parts} {done} of {total}")
