"""Edges: where the index of the depth layer jumps (arXiv 2501.03229, section 4.3), and a version without thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.rendering.compositing import background_colors
from splatlearn.zero_shot.choices import SIGMA, Cue, EdgeMethod
from splatlearn.zero_shot.contrast import contrast_near
from splatlearn.zero_shot.gradients import gradient_map, thin_lines
from splatlearn.zero_shot.reading import ImageGaussians, ReadOptions, gaussians_of, principal_tokens
from splatlearn.zero_shot.slabs import cut_slabs, paint, slab_of

CUES: tuple[Cue, ...] = ("layers", "depth", "color")
FITTED_CUES: tuple[Cue, ...] = ("color",)

HALF = 0.1
"""Gradient that counts as half an edge: strengths g become g / (g + HALF), which keeps their order."""

LARGEST_SIGMA = 1000.0
"""Pixels. Nothing is left of an image that is smoothed more."""

THIN = 0.05
"""Cover of a pixel that weighs as much as the distance behind it."""


@dataclass(frozen=True)
class EdgeOptions:
    """How edges are read out.

    - `method`: `"index"` is the paper's: paint layer over layer, far to near, note for each pixel the last layer that
      changed it by more than `change`, and mark the jumps. `"soft"` composites `cues` as channels and takes their
      gradient; it needs no threshold.
    - `layers`: numbers of equal-count layers, all of which are combined.
    - `cues`: of `"soft"`: layer indices, depth (both relative to the image's), colour, and the decoder's tokens. None:
      layers, depth and colour, but colour alone after a fit, which serves colours and disturbs the order.
    - `sigma`: smoothing before the gradient, pixels.
    - `thin`: keep the crests alone (`"soft"`).
    - `change`: difference of a colour, in (0, 1); what the paper calls significant is not published.

    Raises InputError for unknown names, empty lists and numbers out of range.
    """

    method: EdgeMethod = "soft"
    layers: tuple[int, ...] = (32, 16, 8, 4)
    cues: tuple[Cue, ...] | None = None
    sigma: float = SIGMA
    thin: bool = True
    change: float = 0.1

    def __post_init__(self) -> None:
        if self.method not in get_args(EdgeMethod):
            raise InputError(f"method: expected one of {', '.join(get_args(EdgeMethod))}, got {self.method!r}")
        check_kind("cues", self.cues, tuple, list, type(None))
        check_kind("layers", self.layers, tuple, list)
        if self.cues is not None and (not self.cues or not set(self.cues) <= set(get_args(Cue))):
            raise InputError(f"cues: expected some of {', '.join(get_args(Cue))}, got {self.cues}")
        if not self.layers:
            raise InputError(f"layers: expected numbers of layers of at least 2, got {self.layers}")
        for count in self.layers:
            check_whole("layers", count, 2)
        check_number("sigma", self.sigma, above=0, most=LARGEST_SIGMA)
        check_number("change", self.change, above=0, below=1)


def edges(
    model: Any,
    images: Float[Tensor, "B 3 H W"],
    edge_options: EdgeOptions | None = None,
    options: ReadOptions | None = None,
) -> Float[Tensor, "B H W"]:
    """The edges of images [B, 3, H, W] in [0, 1], as `edges_of` the Gaussians that a GMAE predicts; raises as it and
    `gaussians_of` do."""
    return edges_of(gaussians_of(model, images, options), edge_options)


@torch.no_grad()
def edges_of(read: ImageGaussians, options: EdgeOptions | None = None) -> Float[Tensor, "B H W"]:
    """Strengths of edges in [0, 1], by the chosen method; 0 where the picture has no contrast around.

    Numbers of layers beyond that of the Gaussians are left out. Raises InputError when none is left, and for tokens
    as a cue where there are none.
    """
    options = options or EdgeOptions()
    counts = [count for count in options.layers if count <= read.splats.count]
    if not counts:
        raise InputError(
            f"layers: expected at most {read.splats.count} layers, the number of Gaussians, got {options.layers}"
        )
    if options.method == "index":
        jumps = [_jumps(layer_index(read, count, options.change)) for count in counts]
        return torch.stack(jumps).mean(dim=0) * contrast_near(read.picture)
    cues = options.cues or (FITTED_CUES if read.fitted else CUES)
    strength, direction = gradient_map(_cue_maps(read, counts, cues), options.sigma)
    if options.thin:
        strength = thin_lines(strength, direction)
    return strength / (strength + HALF) * contrast_near(read.picture)


def layer_index(read: ImageGaussians, count: int, change: float) -> Int64[Tensor, "B H W"]:
    """For each pixel the nearest of `count` equal-count layers that changes a colour there by more than `change`.

    Layers are painted far to near over the background; `count` where none does.
    """
    index = slab_of(read.splats, count, "count", read.size)
    slabs = cut_slabs(read.splats, index, count, read.size)
    picture = background_colors(read.background, read.splats.colors)[:, :, None, None]
    written = torch.full_like(index[:, :1, None], count).expand(-1, *read.size)
    for layer in reversed(range(count)):
        after = slabs.color[:, layer] + picture * slabs.transmittance[:, layer].unsqueeze(1)
        changed = (after - picture).abs().amax(dim=1) > change
        written = torch.where(changed, layer, written)
        picture = after
    return written


def _jumps(index: Int64[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """1 where the index differs from that of the pixel to the right or below, else 0."""
    right = F.pad((index[..., :, 1:] != index[..., :, :-1]).float(), (0, 1))
    below = F.pad((index[..., 1:, :] != index[..., :-1, :]).float(), (0, 0, 0, 1))
    return torch.maximum(right, below)


def _cue_maps(read: ImageGaussians, counts: list[int], cues: tuple[Cue, ...]) -> Float[Tensor, "B C H W"]:
    """Every cue as channels that span about 1 over an image, each cue with the same total weight."""
    maps = []
    for cue in cues:
        features = _features(read, counts, cue)
        painted, alpha = paint(read.splats, features, read.size)
        if cue == "color":
            behind = background_colors(read.background, read.splats.colors)[:, :, None, None]
            shown = painted + behind * (1.0 - alpha).unsqueeze(1)
        else:
            # The mean of what covers a pixel; where little does, all of it is as far as the farthest.
            cover = alpha.unsqueeze(1)
            shown = (painted + THIN) / (cover + THIN)
        maps.append(shown / features.shape[-1] ** 0.5)
    return torch.cat(maps, dim=1)


def _features(read: ImageGaussians, counts: list[int], cue: Cue) -> Float[Tensor, "B K C"]:
    splats = read.splats
    if cue == "color":
        return splats.colors
    if cue == "depth":
        near, far = splats.depths.quantile(0.02, dim=1, keepdim=True), splats.depths.quantile(0.98, dim=1, keepdim=True)
        return ((splats.depths - near) / (far - near).clamp_min(1e-6)).clamp(0.0, 1.0).unsqueeze(-1)
    if cue == "layers":
        indices = [slab_of(splats, count, "count", read.size) / (count - 1) for count in counts]
        return torch.stack(indices, dim=-1)
    return principal_tokens(read, 8)
