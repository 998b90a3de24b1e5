"""Groups of Gaussians, and which of them the image's border belongs to."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.device import in_float64
from splatlearn.zero_shot.reading import ImageGaussians, principal_tokens
from splatlearn.zero_shot.slabs import k_means, visible_weights

WEIGHTS = {"center": 1.0, "depth": 0.5, "color": 3.0, "scale": 0.25, "tokens": 1.0}
"""How much each kind of number counts: centres span 2, colours 1, depths and log scales are standardised."""
BORDER_SIGMA = 0.25
"""Connectivity at which a region is ground rather than figure; Zhu et al. 2014 have 1 for four times c."""
COLOR_SIGMA = 0.1
"""Distance of colours at which two groups are one region no longer."""


def group_gaussians(read: ImageGaussians, groups: int, seed: int = 0) -> Int64[Tensor, "B K"]:
    """Groups 0 … groups − 1 of the splats in the depth order, by k-means.

    A splat weighs as much as it paints of the picture. The numbers compared are centre, depth, colour, log scale and,
    where there are any, the decoder's tokens.
    """
    weights = in_float64(visible_weights(read.splats, read.size)).cpu().numpy()
    features = in_float64(group_features(read)).cpu().numpy()
    labels = []
    for points, weight in zip(features, weights, strict=True):
        wanted = min(groups, len(np.unique(points, axis=0)))
        labels.append(k_means(points, wanted, weights=np.maximum(weight, 1e-9), seed=seed).labels_)
    return torch.from_numpy(np.stack(labels)).long().to(read.splats.colors.device)


def group_features(read: ImageGaussians) -> Float[Tensor, "B K F"]:
    """What Gaussians are compared by, in the depth order."""
    splats = read.splats
    span = splats.means2d.new_tensor([read.size[1], read.size[0]])
    determinant = splats.conics[..., 0] * splats.conics[..., 2] - splats.conics[..., 1].square()
    parts = {
        "center": 2.0 * splats.means2d / span - 1.0,
        "depth": _standardised(splats.depths).unsqueeze(-1),
        "color": splats.colors,
        "scale": _standardised(-0.25 * determinant.clamp_min(1e-20).log()).unsqueeze(-1),
    }
    if read.tokens is not None:
        tokens = principal_tokens(read, 8)
        parts["tokens"] = (tokens - 0.5) * 2.0
    return torch.cat([WEIGHTS[name] * values for name, values in parts.items()], dim=-1)


def figure_likeness(members: Float[Tensor, "B G H W"], colors: Float[Tensor, "B G 3"]) -> Float[Tensor, "B G"]:
    """How much each group looks like figure, in [0, 1]: exp(−c²/2σ²) for border connectivity c.

    - `members`: each group's share of each pixel; `colors`: each group's mean colour.

    c is the length of the image's border that a region holds over the root of its area (Zhu et al. 2014, eq. 1 and 4
    with groups for superpixels); its region is every group, as far as the two have the same colour. A quarter of it is
    used, so that a region of the whole image has c = 1.
    """
    alike = torch.exp(-torch.cdist(colors, colors).square() / (2.0 * COLOR_SIGMA**2))
    area = members.sum(dim=(-1, -2))
    border = area - members[..., 1:-1, 1:-1].sum(dim=(-1, -2))
    border, area = (torch.einsum("bgh,bh->bg", alike, each) for each in (border, area))
    connectivity = border / (4.0 * area.clamp_min(1e-6).sqrt())
    return torch.exp(-connectivity.square() / (2.0 * BORDER_SIGMA**2))


def _standardised(values: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    spread = values.std(dim=1, keepdim=True, correction=0).clamp_min(1e-6)
    return ((values - values.mean(dim=1, keepdim=True)) / spread).clamp(-3.0, 3.0)
