"""Masks of groups of splats: at random, as one block, or as holes where splats matter.

Letters in shapes: B sets, G groups.
"""

from __future__ import annotations

from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number
from splatlearn.models.masking.mask import Mask
from splatlearn.models.options import Hide

HOLES, MIXING, JITTER = 4, 0.7, 0.35
"""Number of salience holes, the share of salience in where they are, and the spread of their edges (GaussFusion)."""


def mask_groups(
    centers: Float[Tensor, "B G 3"],
    noise: Float[Tensor, "B G"],
    ratio: float = 0.6,
    hide: Hide = "random",
    salience: Float[Tensor, "B G"] | None = None,
) -> Mask:
    """Hide a share `ratio` of the groups of each set: a mask on a grid of one row of G groups.

    - `noise`: uniform numbers, which alone are random.
    - `hide`: `"random"` groups; a `"block"` of those nearest to a random one (Point-MAE); or `"salience"` holes around
      four groups that matter and lie apart, with ragged edges.
    - `salience`: how much each group matters, > 0; see `group_salience`. Equal for all by default.

    Raises InputError for a ratio that hides no group or all, and unknown names.
    """
    check_number("ratio", ratio, above=0, below=1)
    if hide not in get_args(Hide):
        raise InputError(f"hide: expected one of {', '.join(get_args(Hide))}, got {hide!r}")
    groups = noise.shape[1]
    count = round(ratio * groups)
    if not 0 < count < groups:
        raise InputError(f"ratio: expected one that hides some of {groups} groups and leaves some, got {ratio}")
    if hide == "random":
        order = noise.argsort(dim=1)
    elif hide == "block":
        start = noise.argmin(dim=1, keepdim=True)
        order = _distances(centers, start).squeeze(1).argsort(dim=1, stable=True)
    else:
        weights = torch.ones_like(noise) if salience is None else salience
        order = _hole_order(centers, noise, weights)
    return Mask(order[:, count:].sort(dim=1).values, order[:, :count].sort(dim=1).values, (1, groups))


def group_salience(opacities: Float[Tensor, "B G k"], scales: Float[Tensor, "B G k 3"]) -> Float[Tensor, "B G"]:
    """How much groups matter: mean opacity times mean size, the cube root of a Gaussian's three scales' product."""
    sizes = scales.clamp_min(1e-8).log().mean(dim=-1).exp()
    return opacities.mean(dim=-1) * sizes.mean(dim=-1)


def _hole_order(centers: Float[Tensor, "B G 3"], noise: Float[Tensor, "B G"], salience: Float[Tensor, "B G"]) -> Tensor:
    """Groups by their distance from the nearest hole, which the noise makes uncertain.

    Holes are salient groups far from one another: the first is drawn with chances in proportion to salience (the
    largest of log w − log(−log u), Gumbel), each further one has the largest product of distance^(1 − m) and
    salience^m. How the source mixes the two was not published; the exponents are ours.
    """
    weights = salience.clamp_min(1e-12)
    gumbel = weights.log() - (-noise.double().clamp(1e-9, 1.0 - 1e-9).log()).log()
    holes = gumbel.argmax(dim=1, keepdim=True)
    for _ in range(min(HOLES, noise.shape[1]) - 1):
        apart = _distances(centers, holes).amin(dim=1).clamp_min(0.0)
        score = apart.sqrt().pow(1.0 - MIXING) * weights.pow(MIXING)
        holes = torch.cat([holes, score.argmax(dim=1, keepdim=True)], dim=1)
    nearest = _distances(centers, holes).amin(dim=1).sqrt()
    return (nearest * (1.0 + JITTER * (2.0 * noise - 1.0))).argsort(dim=1, stable=True)


def _distances(centers: Float[Tensor, "B G 3"], places: Tensor) -> Float[Tensor, "B H G"]:
    """Squared distances of all centres from those at some places [B, H]."""
    chosen = torch.gather(centers, 1, places.unsqueeze(-1).expand(-1, -1, 3))
    return (chosen.unsqueeze(2) - centers.unsqueeze(1)).square().sum(dim=-1)
