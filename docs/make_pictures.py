"""Draw the pictures of the concept pages with the code that they describe.

python docs/make_pictures.py [--out docs/images/concepts]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import splatlearn as sl
from splatlearn.data import resize_center_crop, sample_photos
from splatlearn.models import join_masks
from splatlearn.models.gmae_config import Depth, GMAEConfig
from splatlearn.models.heads.gaussian_numbers import gaussians_from_numbers
from splatlearn.objectives import club, contrastive_loss

DEPTHS: tuple[Depth, ...] = ("paper", "pinhole", "orthographic")


def numbers() -> Figure:
    """What each group of the 14 numbers does."""
    base = torch.tensor([0.0, 0.0, 0.0, 1.0, -0.6, -0.6, 0.9, 0.0, 0.0, 0.4, 1.5, -0.5, -1.5, 2.0])
    rows = {
        "centre, x": [(0, -1.2), (0, -0.6), (0, 0.0), (0, 0.6), (0, 1.2)],
        "centre, z": [(2, -3.0), (2, -1.0), (2, 0.0), (2, 1.0), (2, 3.0)],
        "first scale": [(3, -2.0), (3, -0.8), (3, 0.4), (3, 1.6), (3, 2.8)],
        "rotation": [(9, -0.9), (9, -0.4), (9, 0.0), (9, 0.4), (9, 0.9)],
        "colour, red": [(10, -3.0), (10, -1.0), (10, 0.5), (10, 1.5), (10, 3.0)],
        "opacity": [(13, -2.5), (13, -1.0), (13, 0.0), (13, 1.0), (13, 3.0)],
    }
    figure = Figure(figsize=(6.4, 7.2), layout="constrained")
    axes = figure.subplots(len(rows), 5)
    config = GMAEConfig(scale_limit=4.0)
    for row, (name, changes) in zip(axes, rows.items(), strict=True):
        for axis, (place, value) in zip(row, changes, strict=True):
            changed = base.clone()
            changed[place] = value
            picture = sl.render(gaussians_from_numbers(changed[None], config), config.camera(72, 72))
            _show(axis, picture.color, f"{value:+.1f}")
        row[0].set_ylabel(name, fontsize=9)
    return figure


def cameras() -> Figure:
    """Nine Gaussians at three depths, as each choice of `depth` sees them."""
    places = torch.tensor([(x, y) for y in (-0.6, 0.0, 0.6) for x in (-0.6, 0.0, 0.6)])
    depth = torch.tensor([-0.95, 0.0, 0.95]).repeat_interleave(3)
    colors = torch.tensor([(0.85, 0.3, 0.3), (0.25, 0.6, 0.35), (0.25, 0.4, 0.85)]).repeat_interleave(3, dim=0)
    figure = Figure(figsize=(6.4, 2.5), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(DEPTHS)), DEPTHS, strict=True):
        config = GMAEConfig(depth=name)
        share = config.largest_scale / config.scale_limit
        gaussians = sl.Gaussians(
            means=torch.cat([places, depth[:, None]], dim=1),
            scales=torch.full((9, 3), 1.2 * share),
            quaternions=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(9, 4),
            colors=colors,
            opacities=torch.full((9,), 0.9),
        )
        _show(axis, sl.render(gaussians, config.camera(160, 160)).color, name)
    figure.suptitle("red: near, green: middle, blue: far", fontsize=9)
    return figure


def compositing() -> Figure:
    """α of two splats, the transmittance behind the nearer one, and what becomes of them."""
    splats = sl.Splats(
        means2d=torch.tensor([[[26.0, 24.0], [42.0, 24.0]]]),
        conics=torch.tensor([[[0.012, 0.0, 0.012], [0.006, 0.003, 0.02]]]),
        depths=torch.tensor([[7.5, 8.5]]),
        colors=torch.tensor([[[0.85, 0.3, 0.2], [0.2, 0.4, 0.85]]]),
        opacities=torch.tensor([[0.8, 0.95]], requires_grad=True),
    )
    clear = torch.zeros(1, 3)
    covers = [1.0 - sl.composite(splats.select(slice(k, k + 1)), 48, 68, clear)[1][0] for k in (0, 1)]
    color, _ = sl.composite(splats, 48, 68, torch.ones(1, 3))
    panels = {
        "α of the nearer": covers[0],
        "T behind it": 1.0 - covers[0],
        "α of the farther": covers[1],
        "composite": color[0],
        "T·α of the farther": (1.0 - covers[0]) * covers[1],
    }
    figure = Figure(figsize=(7.2, 1.5), layout="constrained")
    for axis, (name, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        _show(axis, values.detach(), name)
    return figure


def masks() -> Figure:
    """Random, orthogonal, block and lattice masks on a photograph."""
    photo = next(each for each in sample_photos() if "chelsea" in each.name)
    pixels = torch.from_numpy(resize_center_crop(Image.fromarray(photo.array), 192, 192)).float() / 255
    generator = torch.Generator().manual_seed(0)
    rows = {
        "random": [sl.random_mask(1, (12, 12), 0.75, generator) for _ in range(4)],
        "orthogonal": sl.orthogonal_masks(1, (12, 12), 4, generator=generator),
        "blocks": sl.orthogonal_masks(1, (12, 12), 4, generator=generator, pattern="block"),
        "lattices": sl.orthogonal_masks(1, (12, 12), 4, generator=generator, pattern="grid"),
    }
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    for row, (name, drawn) in zip(figure.subplots(len(rows), 4), rows.items(), strict=True):
        hidden = join_masks(drawn).hidden_pixels(16)
        for axis, where in zip(row, hidden, strict=True):
            _show(axis, torch.where(where, torch.full_like(pixels, 0.85), pixels))
        row[0].set_ylabel(name, fontsize=9)
    return figure


def bounds() -> Figure:
    """InfoNCE and CLUB on correlated Gaussians, from the true densities, against what is true."""
    generator = torch.Generator().manual_seed(0)
    correlations = np.linspace(0.0, 0.99, 25)
    truth, lower, upper = [], [], []
    dimensions, samples = 8, 256
    for rho in correlations:
        x = torch.randn(samples, dimensions, generator=generator, dtype=torch.float64)
        noise = torch.randn(samples, dimensions, generator=generator, dtype=torch.float64)
        spread = math.sqrt(1.0 - rho * rho)
        z = rho * x + spread * noise
        # log p(z_i | x_k), up to a constant that both bounds cancel.
        likelihood = -0.5 * ((z[:, None] - rho * x[None]) / spread).square().sum(-1)
        truth.append(-0.5 * dimensions * math.log(1.0 - rho * rho))
        lower.append(math.log(samples) - float(contrastive_loss(likelihood)))
        upper.append(float(club(likelihood)))
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(correlations, truth, color="black", label="mutual information")
    axis.plot(correlations, upper, color="#d1495b", label="CLUB")
    axis.plot(correlations, lower, color="#2f6690", label="InfoNCE")
    axis.axhline(math.log(samples), color="grey", linewidth=0.8, linestyle=":", label=f"log {samples}")
    axis.set(xlabel=f"correlation in each of {dimensions} dimensions", ylabel="nats", ylim=(-0.3, 16))
    axis.legend(frameon=False, fontsize=8)
    return figure


def _show(axis: Axes, values: Tensor, title: str = "") -> None:
    shown = values.clamp(0, 1).numpy()
    if shown.ndim == 3:
        axis.imshow(shown.transpose(1, 2, 0))
    else:
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


PICTURES = {each.__name__: each for each in (numbers, cameras, compositing, masks, bounds)}


def main(out: Path) -> None:
    """Write every picture into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw().savefig(out / f"{name}.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "concepts")
    main(parser.parse_args().out)
