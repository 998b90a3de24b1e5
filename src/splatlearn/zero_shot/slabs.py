"""Slabs: runs of the depth order, each composited on its own.

Letters in shapes: B images, K splats, L slabs, C channels, H W pixels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.device import in_float64
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.rendering import Splats, composite
from splatlearn.zero_shot.choices import Rule


@dataclass(frozen=True, eq=False)
class Slabs:
    """L slabs, near to far, on nothing.

    - `color` [B, L, C, H, W]: what each paints, already multiplied by its cover.
    - `transmittance` [B, L, H, W]: what each lets through.
    """

    color: Float[Tensor, "B L C H W"]
    transmittance: Float[Tensor, "B L H W"]

    def before(self) -> Float[Tensor, "B L H W"]:
        """What reaches each slab through those in front."""
        passed = self.transmittance.cumprod(dim=1)
        return torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)

    def share(self) -> Float[Tensor, "B L H W"]:
        """Each slab's weight in the picture: what reaches it and is stopped by it."""
        return self.before() * (1.0 - self.transmittance)


def slab_of(splats: Splats, count: int, rule: Rule, size: tuple[int, int]) -> Int64[Tensor, "B K"]:
    """To which of `count` slabs each splat of the depth order belongs, 0 for the nearest.

    - `"count"`: as many splats in each, but equal depths are never cut apart.
    - `"visible"`: quantiles of the depth of what is seen: as much of the picture painted by each.
    - `"clusters"`: k-means of the depths; some slabs are empty when there are fewer different depths.

    Raises InputError for an unknown rule and a count outside 1 … K.
    """
    if rule not in get_args(Rule):
        raise InputError(f"rule: expected one of {', '.join(get_args(Rule))}, got {rule!r}")
    check_count(count, splats.count)
    if rule == "clusters":
        return torch.stack([_clusters(depths, count) for depths in splats.depths])
    if rule == "count":
        # The first of equal depths speaks for all of them.
        first = torch.searchsorted(splats.depths.contiguous(), splats.depths.contiguous())
        return first * count // splats.count
    weights = visible_weights(splats, size)
    passed = weights.cumsum(dim=1) - weights / 2
    return (passed / weights.sum(dim=1, keepdim=True).clamp_min(1e-12) * count).long().clamp(0, count - 1)


def check_count(count: int, gaussians: int) -> None:
    """Raise InputError unless that many Gaussians can be cut into `count` slabs."""
    check_whole("count", count)
    if not 1 <= count <= gaussians:
        raise InputError(f"count: expected 1 to {gaussians} layers for {gaussians} Gaussians, got {count}")


def cut_slabs(splats: Splats, index: Int64[Tensor, "B K"], count: int, size: tuple[int, int]) -> Slabs:
    """Composite the splats of each slab; `index` must rise along the depth order."""
    batch, total = index.shape
    sizes = torch.nn.functional.one_hot(index, count).sum(dim=1)
    starts = sizes.cumsum(dim=1) - sizes
    longest = max(1, int(sizes.max()))
    places = starts.unsqueeze(-1) + torch.arange(longest, device=index.device)
    inside = torch.arange(longest, device=index.device) < sizes.unsqueeze(-1)
    places = places.clamp_max(total - 1).flatten(1)

    def gather(values: Tensor) -> Tensor:
        each = torch.arange(batch, device=values.device).unsqueeze(-1)
        return values[each, places].reshape(batch * count, longest, *values.shape[2:])

    # Slabs are scenes of their own to the renderer, filled up with splats that are not there.
    opacities = gather(splats.opacities) * inside.reshape(batch * count, longest)
    padded = replace(splats.map(gather), opacities=opacities)
    color, transmittance = composite(padded, *size, "black")
    return Slabs(color.unflatten(0, (batch, count)), transmittance.unflatten(0, (batch, count)))


def visible_weights(splats: Splats, size: tuple[int, int]) -> Float[Tensor, "B K"]:
    """How many pixels' worth of the picture each splat paints: its weight summed over the image."""
    with torch.enable_grad():
        ones = torch.ones_like(splats.opacities).unsqueeze(-1).requires_grad_()
        plain = replace(splats, colors=ones)
        image, _ = composite(plain, *size, "black")
        (weights,) = torch.autograd.grad(image.sum(), ones)
    return weights.squeeze(-1)


def paint(
    splats: Splats, features: Float[Tensor, "B K C"], size: tuple[int, int]
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite features of splats over nothing, and the cover in [0, 1]; features in the depth order."""
    images = []
    alpha = None
    for part in features.split(16, dim=-1):
        painted = replace(splats, colors=part)
        image, transmittance = composite(painted, *size, "black")
        images.append(image)
        alpha = 1.0 - transmittance
    assert alpha is not None
    return torch.cat(images, dim=1), alpha


def _clusters(depths: Float[Tensor, " K"], count: int) -> Int64[Tensor, " K"]:
    """k-means on a line, started from quantiles, its clusters numbered near to far."""
    values = in_float64(depths).cpu().numpy()[:, None]
    distinct = np.unique(values)
    groups = min(count, len(distinct))
    start = np.quantile(distinct, (np.arange(groups) + 0.5) / groups)[:, None]
    found = k_means(values, groups, start=start)
    rank = found.cluster_centers_[:, 0].argsort().argsort()
    # Equal distances to two centres could break the order by a rounding error.
    return torch.from_numpy(np.maximum.accumulate(rank[found.labels_])).long().to(depths.device)


def k_means(
    points: np.ndarray,
    groups: int,
    start: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Any:
    """scikit-learn's k-means, fitted: from given centres, or the best of four random starts."""
    # Takes about as long to import as torch, and most of the package does without it.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    estimator: Any = KMeans
    given = {"n_init": 4} if start is None else {"n_init": 1, "init": start}
    with warnings.catch_warnings():
        # Fewer different points than groups are not worth a warning here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator(groups, random_state=seed, **given).fit(points, sample_weight=weights)
