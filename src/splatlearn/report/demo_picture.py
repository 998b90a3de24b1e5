"""The demo in one picture: what a GMAE sees, paints, and paints it with."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.rendering import Splats, composite, project
from splatlearn.report.parts.ellipses import add_ellipses

COLUMNS = ("visible patches", "painted from them", "photo", "its Gaussians", "nearest half")


def demo_picture(model: Any, images: Float[Tensor, "B 3 H W"], mask: Any, note: str | None = None) -> Figure:
    """One row a photo: its visible patches, the reconstruction, the photo, its Gaussians, and the nearer half of them.

    - `images` in [0, 1]; `mask` hides patches of them; `model` is a GMAE; `note` is set above the rows.
    """
    height, width = images.shape[-2:]
    with evaluating(model):
        painted = model(images, mask).image.float().clamp(0, 1)
        splats = project(model.gaussians(images), model.camera(height, width))
        near, _ = composite(splats.select(slice(splats.count // 2)), height, width, "white")
    hidden = mask.hidden_pixels(model.patch_size).unsqueeze(1)
    seen = torch.where(hidden, torch.full_like(images, 0.92), images)

    figure = Figure(figsize=(1.55 * len(COLUMNS), 1.55 * len(images) + 0.25), layout="constrained")
    if note:
        figure.suptitle(note, fontsize=8, color="#444444")
    grid = figure.subplots(len(images), len(COLUMNS), squeeze=False)
    for row, axes in enumerate(grid):
        for column, panel in enumerate((seen, painted, images, None, near.clamp(0, 1))):
            if panel is None:
                _draw_ellipses(axes[column], splats, row, (height, width))
            else:
                axes[column].imshow(panel[row].permute(1, 2, 0).numpy(), interpolation="nearest")
            axes[column].set_axis_off()
            if row == 0:
                axes[column].set_title(COLUMNS[column], fontsize=8, color="#444444")
    return figure


def _draw_ellipses(axes: Axes, splats: Splats, row: int, size: tuple[int, int]) -> None:
    """Draw the ellipses from far to near, filled with the opacities of the Gaussians."""
    colors = torch.cat([splats.colors[row], splats.opacities[row].unsqueeze(-1)], dim=-1).clamp(0, 1)
    means2d, conics, faces = (each.flip(0).cpu().numpy() for each in (splats.means2d[row], splats.conics[row], colors))
    add_ellipses(axes, means2d, conics, facecolors=faces, edgecolors="none")
    axes.set(xlim=(0, size[1]), ylim=(size[0], 0), aspect="equal")
