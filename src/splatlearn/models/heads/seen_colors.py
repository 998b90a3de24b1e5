"""Colours of the visible patches: their mean for the background, and an initial colour for each Gaussian."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.models.masking import Mask
from splatlearn.models.nn.positions import gather_tokens

SPREAD = 0.5
"""Standard deviation, in mean distances between visible patches, of the weights with which they speak for a place."""


def mean_color(images: Float[Tensor, "B 3 H W"], mask: Mask | None, patch_size: int) -> Float[Tensor, "B 3"]:
    """The mean colour of the visible patches, or of the whole image without a mask."""
    return images.mean(dim=(2, 3)) if mask is None else _visible(images, mask, patch_size)[0].mean(dim=1)


def colors_at(
    places: Float[Tensor, "K 2"] | None, images: Float[Tensor, "B 3 H W"], mask: Mask | None, patch_size: int
) -> Float[Tensor, "B S 3"]:
    """The colours of the visible patches around places, nearer ones weighing more.

    `places`: x and y in (−1, 1) over the image; None for the mean of all. Weights are a softmax of −d²/2σ², so that a
    place far from every visible patch has the colour of the nearest; σ grows with the distance between visible ones.
    """
    if places is None:
        return mean_color(images, mask, patch_size).unsqueeze(1)
    colors, centres = _visible(images, mask, patch_size)
    rows, columns = images.shape[2] // patch_size, images.shape[3] // patch_size
    sides = places.new_tensor((columns, rows)) / 2.0
    spread = SPREAD * (rows * columns / centres.shape[1]) ** 0.5
    places, centres = places * sides / spread, centres * sides / spread
    # −|p − c|²/2 but for −|p|²/2, which a softmax over c does not see.
    scores = places @ centres.transpose(1, 2) - 0.5 * centres.square().sum(dim=-1).unsqueeze(1)
    return scores.softmax(dim=-1) @ colors


def _visible(
    images: Float[Tensor, "B 3 H W"], mask: Mask | None, patch_size: int
) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B V 2"]]:
    """Mean colours and centres, x and y in (−1, 1), of the visible patches."""
    colors = F.avg_pool2d(images.float(), patch_size)
    rows, columns = colors.shape[-2:]
    y = (torch.arange(rows, device=images.device) + 0.5) / rows * 2.0 - 1.0
    x = (torch.arange(columns, device=images.device) + 0.5) / columns * 2.0 - 1.0
    centres = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], dim=-1).reshape(1, -1, 2)
    flat, centres = colors.flatten(2).transpose(1, 2), centres.expand(images.shape[0], -1, -1)
    if mask is None:
        return flat, centres
    return gather_tokens(flat, mask.visible), gather_tokens(centres, mask.visible)
