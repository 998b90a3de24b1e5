"""A head whose Gaussians are children of others: inside their parents, and never larger.

The rules are those of GSGAN (Hyun and Heo, "Adversarial Generation of Hierarchical Gaussians for 3D Generative Model",
NeurIPS 2024, section 3.2): a child's mean lies in the box of one standard deviation around its parent's, along the
parent's axes, and its scales are its parent's times numbers of at most 1. Unlike there, rotations are composed, not
added, so that every child's is one, and leaves are cut at the limit of scales. Only the leaves are drawn.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.cameras import GMAE_DISTANCE
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import multiply_quaternions, quaternions_to_matrices, unit_quaternions
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_numbers import (
    NUMBERS,
    at_least_float32,
    gaussians_from_numbers,
    grid_numbers,
    grid_shape,
)
from splatlearn.models.nn.initial import initialize

SMALLEST = 1 / 32
"""Least share of its parent's scales that a child has, so that no chain of small numbers makes it vanish."""
WIDEST = 0.95
"""Largest share of the parent's standard deviation at which a child may start."""
Numbers = Float[Tensor, "*B N 14"]


class Level(NamedTuple):
    """Gaussians of one level, with the numbers that their colours and opacities come from.

    `drawn` [*B, N, 3]: standard deviations as the picture shows them, in the units of means.
    """

    means: Float[Tensor, "*B N 3"]
    scales: Float[Tensor, "*B N 3"]
    quaternions: Float[Tensor, "*B N 4"]
    colors: Float[Tensor, "*B N 3"]
    opacities: Float[Tensor, "*B N 1"]
    drawn: Float[Tensor, "*B N 3"]


class HierarchicalHead(nn.Module):
    """One linear layer for all Gaussians of a query's tree: its root, its children, and their children, the leaves.

    A query of r Gaussians has b₁ children of the root and b₂ of each of these, b₁·b₂ = r, as equal as they can be.
    """

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.branching = config, branching(config.gaussians_per_query)
        # A root is as wide as the cell that its leaves share, in which case it may be wider than any Gaussian drawn.
        widest = config.scale_limit * math.sqrt(config.gaussians_per_query)
        self.root_config = replace(
            config, gaussians=config.num_queries, gaussians_per_query=1, scale_limit=widest, heads="joint"
        )
        self.out = nn.Linear(config.decoder.embed_dim, nodes(config.gaussians_per_query) * sum(NUMBERS))
        initialize(self, generator)

    def gaussians(
        self,
        features: Float[Tensor, "B Q d"],
        anchors: Float[Tensor, "N 14"] | None = None,
        seen: Float[Tensor, "B S 3"] | None = None,
    ) -> Gaussians:
        """Return the leaves [B, K]; see `GaussianHead`."""
        with torch.autocast(features.device.type, enabled=False):
            exact = at_least_float32(features)
            numbers = F.linear(exact, self.out.weight.to(exact), self.out.bias.to(exact))
            numbers = numbers.unflatten(-1, (-1, sum(NUMBERS))).flatten(1, 2)
            return self.leaves(numbers if anchors is None else numbers + anchors, seen)

    def leaves(self, numbers: Numbers, seen: Float[Tensor, "*B S 3"] | None = None) -> Gaussians:
        """Return the Gaussians of numbers [*B, N, 14], of which each query has those of its nodes one level after the
        other."""
        last = self.levels(numbers)[-1]
        plain = torch.cat([torch.zeros_like(last.means), torch.zeros_like(last.scales),
                           torch.zeros_like(last.quaternions), last.colors, last.opacities], dim=-1)  # fmt: skip
        painted = gaussians_from_numbers(plain, self.config, seen)
        return replace(
            painted,
            means=last.means,
            scales=last.scales.clamp_max(self.config.largest_scale),
            quaternions=last.quaternions,
        )

    def levels(self, numbers: Numbers) -> list[Level]:
        """Return all levels from the roots [*B, Q] to the leaves [*B, K]; children of one parent are neighbours."""
        split = numbers.unflatten(-2, (-1, sum(self._counts())))
        parts = split.split(self._counts(), dim=-2)
        levels = [self._roots(parts[0].flatten(-3, -2))]
        for part, count in zip(parts[1:], self.branching, strict=True):
            levels.append(self._children(levels[-1], part.flatten(-3, -2), count))
        return levels

    def first_numbers(self) -> Float[Tensor, "N 14"]:
        """Return anchors such that roots form a grid and their children tile them; see `GaussianHead`."""
        config = self.config
        # A root's children have to reach the sides of its cell.
        wide = max(config.initial_scale, 0.5)
        parts = [grid_numbers(replace(self.root_config, initial_scale=wide))[:, None]]
        # Leaves are as wide, in spacings of their own grid, as roots in theirs; each level has the same part in it.
        share = config.gaussians_per_query ** (-0.5 / len(self.branching))
        cell, above = torch.ones(2), 1
        for count in self.branching:
            _, _, down, across = grid_shape(1, count)
            child = torch.zeros(count, sum(NUMBERS))
            child[:, :2] = torch.atanh((_tiled(down, across) * cell / wide).clamp(-WIDEST, WIDEST))
            child[:, 3:6] = torch.logit(torch.tensor((share - SMALLEST) / (1 - SMALLEST)), eps=1e-4)
            parts.append(child.repeat(above, 1).expand(config.num_queries, -1, -1))
            cell, above, wide = cell / torch.tensor([across, down]), above * count, wide * share
        return torch.cat(parts, dim=1).flatten(0, 1)

    @torch.no_grad()
    def shift_number(self, number: int, value: float) -> None:
        """Add to the bias of one of the 14 numbers of every root."""
        self.out.bias[number] += value

    @torch.no_grad()
    def scale_weights(self, factor: float) -> None:
        """Multiply the weights that the numbers come from."""
        self.out.weight.mul_(factor)

    def _counts(self) -> list[int]:
        counts = [1]
        for count in self.branching:
            counts.append(counts[-1] * count)
        return counts

    def _roots(self, numbers: Numbers) -> Level:
        root = gaussians_from_numbers(numbers, self.root_config)
        *_, color, opacity = numbers.split(NUMBERS, dim=-1)
        return Level(root.means, root.scales, root.quaternions, color, opacity, self._drawn(root.scales))

    def _children(self, parents: Level, numbers: Numbers, count: int) -> Level:
        above = Level(*(each.repeat_interleave(count, dim=-2) for each in parents))
        place, scale, rotation, color, opacity = numbers.split(NUMBERS, dim=-1)
        turned = quaternions_to_matrices(above.quaternions) @ (above.drawn * place.tanh()).unsqueeze(-1)
        scales = above.scales * (SMALLEST + (1 - SMALLEST) * scale.sigmoid())
        identity = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=rotation.dtype, device=rotation.device)
        quaternions = multiply_quaternions(above.quaternions, unit_quaternions(rotation + identity))
        return Level(
            above.means + turned.squeeze(-1),
            scales,
            quaternions,
            above.colors + color,
            above.opacities + opacity,
            self._drawn(scales),
        )

    def _drawn(self, scales: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B N 3"]:
        # The paper's camera is 8 away and shrinks extents by that, but not the places of means.
        return scales / GMAE_DISTANCE if self.config.depth in ("paper", "soft-order") else scales


def branching(per_query: int) -> tuple[int, ...]:
    """The numbers of children of a root and of each of these, whose product is the number of leaves."""
    first = max(each for each in range(1, math.isqrt(per_query) + 1) if per_query % each == 0)
    return (per_query,) if first == 1 else (first, per_query // first)


def nodes(per_query: int) -> int:
    """The number of Gaussians of a query's tree."""
    return 1 + sum(math.prod(branching(per_query)[: level + 1]) for level in range(len(branching(per_query))))


def _tiled(down: int, across: int) -> Float[Tensor, "C 2"]:
    """The middles (x, y) of the tiles of the square (−½, ½)²."""
    y = (torch.arange(down) + 0.5) / down - 0.5
    x = (torch.arange(across) + 0.5) / across - 0.5
    return torch.stack([x.expand(down, across), y[:, None].expand(down, across)], dim=-1).reshape(-1, 2)
