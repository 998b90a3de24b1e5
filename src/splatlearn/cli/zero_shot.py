"""`splatlearn layers|segment|edges RUN IMAGE... --out DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from splatlearn.cli.pictures import PictureBatch, Pictures, output_folder, progress_bar, write_png
from splatlearn.cli.which_model import model_and_images
from splatlearn.core.errors import InputError
from splatlearn.device import choose_device
from splatlearn.models import GMAE, load_model
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
from splatlearn.zero_shot.edges import Cue
from splatlearn.zero_shot.edges import Method as EdgeMethod
from splatlearn.zero_shot.figure_ground import Method as FigureMethod
from splatlearn.zero_shot.figure_ground import Side
from splatlearn.zero_shot.scene import Sizing
from splatlearn.zero_shot.slabs import Rule


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
        """What `read_scene` takes."""
        return ReadOptions(self.sizing, self.window, self.overlap, self.refine)


LARGEST = 1024
"""Longer side at which larger photographs are read: there is nothing finer in a few hundred Gaussians."""

Read = Annotated[Reading, tyro.conf.arg(name="")]
Images = tyro.conf.Positional[tuple[str, ...]]


def layers_command(
    run: tyro.conf.Positional[str],
    images: Images,
    *,
    out: str,
    count: int = 8,
    rule: Rule = "count",
    largest: int = LARGEST,
    reading: Read = Reading(),
) -> int:
    """Cut images into layers by depth: NAME-layer-01.png, the nearest, and so on, transparent, and NAME-rendering.png.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Left out, the package's weights.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        count: Number of layers.
        rule: count: as many Gaussians in each; visible: as much of the picture; clusters: k-means of depths.
        largest: Pixels of the longer side that larger images are shrunk to, and that outputs have; 0 for their own.
    """
    folder = output_folder(out)
    for batch, scene in _scenes(run, images, reading, largest, "layers"):
        for name, found, whole in zip(batch.names, layers_of(scene, count, rule), scene.rendering.color, strict=True):
            write_png(folder / f"{name}-rendering.png", whole)
            for number, layer in enumerate(found, start=1):
                write_png(folder / f"{name}-layer-{number:02d}.png", layer)
    return 0


def segment_command(
    run: tyro.conf.Positional[str],
    images: Images,
    *,
    out: str,
    method: FigureMethod = "mixtures",
    side: Side = "near",
    center: bool = False,
    groups: int = 8,
    largest: int = LARGEST,
    reading: Read = Reading(),
) -> int:
    """Tell figure from ground: NAME-soft.png, NAME-mask.png (black and white) and NAME-figure.png (transparent ground).

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Left out, the package's weights.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: mixtures: the Gaussians' colours inside a margin against those around; groups: clusters of Gaussians
            that do not touch the border; order: one cut of the depth order; depth: a cut of composited depth.
        side: Which side of a cut in depth is figure: the near one, or the one that holds less of the border.
        center: Weigh by how near the image's middle a pixel is.
        groups: Number of clusters.
        largest: Pixels of the longer side that larger images are shrunk to, and that outputs have; 0 for their own.
    """
    folder = output_folder(out)
    options = FigureOptions(method, side, center, groups=groups)
    for batch, scene in _scenes(run, images, reading, largest, "figure and ground"):
        for name, image, soft in zip(batch.names, batch.images, figure_ground_of(scene, options).cpu(), strict=True):
            write_png(folder / f"{name}-soft.png", soft)
            write_png(folder / f"{name}-mask.png", (soft >= 0.5).float())
            write_png(folder / f"{name}-figure.png", torch.cat([image, soft.unsqueeze(0)]))
    return 0


def edges_command(
    run: tyro.conf.Positional[str],
    images: Images,
    *,
    out: str,
    method: EdgeMethod = "soft",
    cues: tuple[Cue, ...] | None = None,
    sigma: float = EdgeOptions.sigma,
    largest: int = LARGEST,
    reading: Read = Reading(),
) -> int:
    """Find edges: NAME-edges.png, white on black, as strong as they are bright.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Left out, the package's weights.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: soft: gradients of composited channels; index: the paper's jumps of the layer index.
        cues: Channels of soft: layers, depth, color, tokens. Default: the first three; after refinement color.
        sigma: Smoothing before the gradient, pixels.
        largest: Pixels of the longer side that larger images are shrunk to, and that outputs have; 0 for their own.
    """
    folder = output_folder(out)
    options = EdgeOptions(method, cues=cues, sigma=sigma)
    for batch, scene in _scenes(run, images, reading, largest, "edges"):
        for name, found in zip(batch.names, edges_of(scene, options), strict=True):
            write_png(folder / f"{name}-edges.png", found)
    return 0


def _scenes(
    run: str, images: tuple[str, ...], reading: Reading, largest: int, what: str
) -> Iterator[tuple[PictureBatch, Scene]]:
    """Scenes of all images that can be read, behind a progress bar; raises at the end for those that cannot."""
    options = reading.options()
    run, images = model_and_images(run, images)
    model = load_model(run, choose_device(reading.device))
    if not isinstance(model, GMAE):
        raise InputError(f"run: expected a GMAE, whose pictures are made of Gaussians, got a MAE in {run}")
    pictures = Pictures(images, reading.batch_size, model.patch, largest)
    done = 0
    with progress_bar(what, len(pictures.files)) as told:
        for batch in pictures:
            yield batch, read_scene(model, batch.images.to(next(model.parameters()).device), options)
            done += len(batch.names)
            told(done + len(pictures.failures))
    pictures.finish()
