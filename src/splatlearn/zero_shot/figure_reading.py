"""Figure and ground: from the colours of Gaussians, from groups of them, from the depth order or composited depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import skimage
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.device import in_float64
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.zero_shot.choices import FigureMethod, Side
from splatlearn.zero_shot.contrast import contrast_of
from splatlearn.zero_shot.grouping import figure_likeness, group_gaussians
from splatlearn.zero_shot.mixtures import figure_of_mixtures
from splatlearn.zero_shot.reading import ImageGaussians, ReadOptions, gaussians_of
from splatlearn.zero_shot.slabs import cut_slabs, paint, slab_of, visible_weights

MOST = 10_000
"""Cuts that are tried, and groups of Gaussians."""

CENTER_AREA = 0.25
"""Share of the image inside the outline of the centre's hill."""


@dataclass(frozen=True)
class FigureOptions:
    """How the figure is found.

    - `method`: `"order"` cuts the depth order once, where the mean colours of the two sides differ most (Otsu's
      criterion, weighted by cover), and the nearer side's cover by Otsu's threshold; `"depth"` composites depth and
      cuts it by Otsu's threshold; `"groups"` clusters Gaussians and paints how little each group touches the border;
      `"mixtures"` sets the Gaussians' colours inside a margin against those around (`figure_of_mixtures`).
    - `side`: which side of a cut in depth is figure: `"near"`, or the one that holds less of the `"border"`.
    - `center`: weigh by a hill in the middle of the image, where photographers put figures. It is no label, but it
      says nothing about what is in the picture either: compare with the hill alone.
    - `cuts`: places of the depth order that are tried; `groups`: clusters of Gaussians; `seed`: of the clustering.

    Raises InputError for unknown names and numbers out of range.
    """

    method: FigureMethod = "mixtures"
    side: Side = "near"
    center: bool = False
    cuts: int = 32
    groups: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(FigureMethod):
            raise InputError(f"method: expected one of {', '.join(get_args(FigureMethod))}, got {self.method!r}")
        if self.side not in get_args(Side):
            raise InputError(f"side: expected one of {', '.join(get_args(Side))}, got {self.side!r}")
        check_whole("cuts", self.cuts, 2, MOST)
        check_whole("groups", self.groups, 2, MOST)
        check_whole("seed", self.seed, 0, 2**32 - 1)


def figure_ground(
    model: Any,
    images: Float[Tensor, "B 3 H W"],
    figure_options: FigureOptions | None = None,
    options: ReadOptions | None = None,
) -> Float[Tensor, "B H W"]:
    """The figures of images [B, 3, H, W] in [0, 1], as `figure_ground_of` the Gaussians that a GMAE predicts; raises as
    it and `gaussians_of` do."""
    return figure_ground_of(gaussians_of(model, images, options), figure_options)


@torch.no_grad()
def figure_ground_of(read: ImageGaussians, options: FigureOptions | None = None) -> Float[Tensor, "B H W"]:
    """A soft mask in [0, 1], 1 for figure; the binary one is where it is at least 0.5.

    An image in which nothing can be told apart is all ground, and so is one without contrast.
    """
    found = _figure_of(read, options or FigureOptions())
    return found * contrast_of(read.picture).to(found)[:, None, None]


def _figure_of(read: ImageGaussians, options: FigureOptions) -> Float[Tensor, "B H W"]:
    if options.method == "mixtures":
        # Probabilities as they are: 0.5 says which side is likelier, and the hill has its place among them.
        return figure_of_mixtures(read, center_hill(*read.size) if options.center else None, options.seed)
    if options.method == "groups":
        found = _from_groups(read, options)
    else:
        values = _closeness(read) if options.method == "depth" else _from_order(read, options.cuts)
        found = _sided(calibrated(values), options.side)
    if options.center:
        found = found * center_hill(*read.size).to(found)
    return calibrated(found)


def center_hill(height: int, width: int) -> Float[Tensor, "H W"]:
    """A Gaussian hill in the middle, 1 at its top and 0.5 at the outline of CENTER_AREA of the image."""
    y = ((torch.arange(height) + 0.5) / height - 0.5).unsqueeze(-1)
    x = (torch.arange(width) + 0.5) / width - 0.5
    outline = CENTER_AREA / math.pi
    return torch.exp2(-(x * x + y * y) / outline)


def calibrated(values: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Stretch each map over [0, 1] such that Otsu's threshold becomes 0.5; 0 for a map without differences."""
    stretched = []
    for each in values:
        low, high = float(each.min()), float(each.max())
        if high - low < 1e-6:
            stretched.append(torch.zeros_like(each))
            continue
        cut = float(skimage.filters.threshold_otsu(in_float64(each).cpu().numpy()))
        cut = min(max(cut, low + 1e-3 * (high - low)), high - 1e-3 * (high - low))
        below, above = 0.5 * (each - low) / (cut - low), 0.5 + 0.5 * (each - cut) / (high - cut)
        stretched.append(torch.where(each < cut, below, above).clamp(0.0, 1.0))
    return torch.stack(stretched)


def border_share(masks: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Mean of masks over the outermost ring of pixels."""
    ring = torch.ones_like(masks)
    ring[:, 1:-1, 1:-1] = 0.0
    return (masks * ring).sum(dim=(1, 2)) / ring.sum(dim=(1, 2))


def _sided(masks: Float[Tensor, "B H W"], side: Side) -> Float[Tensor, "B H W"]:
    """Turn masks of the near side round where their border is more figure than their whole, if the border decides."""
    if side == "near":
        return masks
    turned = border_share(masks) > masks.mean(dim=(1, 2))
    return torch.where(turned[:, None, None], 1.0 - masks, masks)


def _closeness(read: ImageGaussians) -> Float[Tensor, "B H W"]:
    """Minus the composited depth; what nothing covers is as far as the farthest Gaussian."""
    rendering = read.rendering
    assert rendering.depth is not None
    farthest = read.splats.depths[:, -1, None, None]
    return -(rendering.depth * rendering.alpha + farthest * (1.0 - rendering.alpha))


def _from_order(read: ImageGaussians, cuts: int) -> Float[Tensor, "B H W"]:
    """Cover by the nearest Gaussians, as many as make the colours of the two sides differ most."""
    count = min(cuts, read.splats.count)
    slabs = cut_slabs(read.splats, slab_of(read.splats, count, "count", read.size), count, read.size)
    near = 1.0 - slabs.transmittance.cumprod(dim=1)
    colors = read.rendering.color
    total = colors.mean(dim=(2, 3)).unsqueeze(1)
    area = near.mean(dim=(2, 3))
    inside = torch.einsum("blhw,bchw->blc", near, colors) / (near.shape[-1] * near.shape[-2])
    # Between-class variance of two classes: (μ·ω − μ_near)² / (ω (1 − ω)), Otsu 1979, eq. 18.
    spread = (inside - area.unsqueeze(-1) * total).square().sum(-1) / (area * (1.0 - area)).clamp_min(1e-6)
    best = spread.argmax(dim=1)
    return near[torch.arange(len(best), device=best.device), best]


def _from_groups(read: ImageGaussians, options: FigureOptions) -> Float[Tensor, "B H W"]:
    splats = read.splats
    labels = group_gaussians(read, options.groups, options.seed)
    members = F.one_hot(labels, options.groups).to(splats.colors.dtype)
    weights = members * visible_weights(splats, read.size).unsqueeze(-1)
    sums = torch.einsum("bkg,bkc->bgc", weights, splats.colors)
    colors = sums / weights.sum(dim=1).clamp_min(1e-9).unsqueeze(-1)
    painted, _ = paint(splats, members, read.size)
    return torch.einsum("bghw,bg->bhw", painted, figure_likeness(painted, colors))
