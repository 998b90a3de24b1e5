"""A grid of unchosen photographs, the first by name: what a GMAE makes of each, and what is read out of it.

python -m benchmarks.zero_shot_picture --run runs/gmae --photos DIR --out picture.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

from splatlearn.evaluation.boundaries.contenders import as_images
from splatlearn.images import decode
from splatlearn.images.listing import images_in
from splatlearn.models import GMAE, load_model
from splatlearn.zero_shot import (
    EdgeOptions,
    FigureOptions,
    ImageGaussians,
    ReadOptions,
    composite_layers,
    edges_of,
    figure_ground_of,
    gaussians_of,
    layers_of,
)

COLUMNS = ("photo", "painted", "depth", "nearest third", "middle third", "farthest third", "figure", "edges")


@dataclass(frozen=True)
class Options:
    """What is shown."""

    run: str
    """A run or model folder of a GMAE."""
    photos: Path
    """A folder of images."""
    out: Path
    """The picture."""
    count: int = 24
    """The first so many images by name."""
    fit_steps: int = 0
    """Gradient steps before the read-out."""
    center: bool = True
    """Weigh figures by the image's middle."""


def main(options: Options) -> None:
    """Read out every photograph and draw the grid."""
    matplotlib.use("Agg")
    model = load_model(options.run)
    if not isinstance(model, GMAE):
        raise SystemExit(f"run: expected a GMAE, got a MAE in {options.run}")
    files, _ = images_in(options.photos)
    rows = [panels(model, np.asarray(decode(path, path.name)), options) for path in files[: options.count]]
    figure = Figure(figsize=(1.4 * len(COLUMNS), 1.4 * len(rows)), layout="constrained")
    for axes, row in zip(figure.subplots(len(rows), len(COLUMNS), squeeze=False), rows, strict=True):
        for axis, panel in zip(axes, row, strict=True):
            axis.imshow(panel, cmap="gray")
            axis.set_axis_off()
    for axis, title in zip(figure.axes, COLUMNS, strict=False):
        axis.set_title(title, fontsize=8, color="#444444")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)


@torch.no_grad()
def panels(model: GMAE, photo: np.ndarray, options: Options) -> list[np.ndarray]:
    """One row: colours [H, W, 3] or grey values [H, W]."""
    read = gaussians_of(model, as_images(photo, model), ReadOptions(fit_steps=options.fit_steps))
    # Each layer on white, alone.
    thirds = [composite_layers(layer.unsqueeze(1))[0] for layer in layers_of(read, 3, "visible").unbind(1)]
    colors = [read.rendering.color[0], *thirds]
    painted, *slabs = (image.clamp(0, 1).permute(1, 2, 0).numpy() for image in colors)
    mask = figure_ground_of(read, FigureOptions(center=options.center))[0].numpy()
    edges = edges_of(read, EdgeOptions())[0].numpy()
    return [photo, painted, shown_depth(read), *slabs, mask, edges]


def shown_depth(read: ImageGaussians) -> np.ndarray:
    """Depth where something is painted, its outermost hundredths clipped; the farthest elsewhere."""
    depth, alpha = read.rendering.depth, read.rendering.alpha
    assert depth is not None
    covered = depth[alpha > 0.05]
    near, far = (float(covered.quantile(share)) for share in (0.01, 0.99))
    return torch.where(alpha > 0.05, depth, far)[0].clamp(near, far).numpy()


if __name__ == "__main__":
    main(tyro.cli(Options))
