"""A head that asks three planes of features at points: Gaussians are where the points are, and the planes say the rest.

After Triplane-Gaussian (Zou et al., "Triplane Meets Gaussian Splatting", CVPR 2024, arXiv 2312.09147), whose points and
planes come from two transformers. Here one set of queries predicts both, so that any decoder of queries can carry it.

Letters in shapes: B images, Q queries in rows R and columns S, r Gaussians of a query, K = Q·r, F features of a plane.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.gaussians import Gaussians
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_numbers import (
    NUMBERS,
    at_least_float32,
    gaussians_from_numbers,
    grid_numbers,
    grid_shape,
)
from splatlearn.models.nn.initial import initialize

PLANE_FEATURES, POINT_FEATURES, HIDDEN = 16, 16, 64
"""Numbers of a place of a plane, numbers of a point's own, and width of the layers that turn them into a Gaussian."""
FINER = 2
"""Places of a plane along each side of a query's cell."""
PLANES = ((0, 1), (0, 2), (1, 2))
"""Axes along a plane's columns and rows: x and y, x and z, y and z."""
POINT = NUMBERS[0]
REST = sum(NUMBERS) - POINT


class TriplaneHead(nn.Module):
    """Points and planes of linear layers, and a small MLP of what a point finds in the planes.

    - Points: a query predicts the centres of its r Gaussians.
    - Planes: the queries form a grid, in which each predicts its cell of three planes through the cube of all centres.
    - Query: a centre is projected to the three planes. What is interpolated there, the point's own features and the
      centre give the scale, rotation, colour and opacity.

    A centre depends on the features of its own query alone; the other numbers on those of all.
    """

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        embed_dim, each = config.decoder.embed_dim, config.gaussians_per_query
        self.points = nn.Linear(embed_dim, each * POINT)
        self.local = nn.Linear(embed_dim, each * POINT_FEATURES)
        self.planes = nn.Linear(embed_dim, len(PLANES) * PLANE_FEATURES * FINER**2)
        self.first = nn.Linear(len(PLANES) * PLANE_FEATURES + POINT_FEATURES + POINT, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, REST)
        initialize(self, generator)

    def gaussians(
        self,
        features: Float[Tensor, "B Q d"],
        anchors: Float[Tensor, "K 14"] | None = None,
        seen: Float[Tensor, "B S 3"] | None = None,
    ) -> Gaussians:
        """Return Gaussians [B, K]; see `GaussianHead`."""
        with torch.autocast(features.device.type, enabled=False):
            exact = at_least_float32(features)
            centers = _linear(self.points, exact).unflatten(-1, (-1, POINT)).flatten(1, 2)
            if anchors is not None:
                centers = centers + anchors[:, :POINT]
            places = 2.0 * (centers.sigmoid() - 0.5)
            local = _linear(self.local, exact).unflatten(-1, (-1, POINT_FEATURES)).flatten(1, 2)
            asked = torch.cat([sampled(self.plane_features(exact), places), local, places], dim=-1)
            rest = _linear(self.out, F.silu(_linear(self.second, F.silu(_linear(self.first, asked)))))
            if anchors is not None:
                rest = rest + anchors[:, POINT:]
            return gaussians_from_numbers(torch.cat([centers, rest], dim=-1), self.config, seen)

    def plane_features(self, features: Float[Tensor, "B Q d"]) -> Float[Tensor, "B 3 F H W"]:
        """The three planes; a query has a square of places of each, beside those of its neighbours in the grid."""
        rows, columns, _, _ = grid_shape(self.config.num_queries, 1)
        cells = _linear(self.planes, features)
        cells = cells.view(-1, rows, columns, len(PLANES), PLANE_FEATURES, FINER, FINER)
        return cells.permute(0, 3, 4, 1, 5, 2, 6).reshape(
            -1, len(PLANES), PLANE_FEATURES, rows * FINER, columns * FINER
        )

    def first_numbers(self) -> Float[Tensor, "K 14"]:
        """Return anchors such that Gaussians start as a grid; see `GaussianHead`."""
        return grid_numbers(self.config)

    @torch.no_grad()
    def shift_number(self, number: int, value: float) -> None:
        """Add to the bias of one of the 14 numbers of every Gaussian."""
        if number < POINT:
            self.points.bias[number::POINT] += value
        else:
            self.out.bias[number - POINT] += value

    @torch.no_grad()
    def scale_weights(self, factor: float) -> None:
        """Multiply the weights that the numbers come from."""
        self.points.weight.mul_(factor)
        self.out.weight.mul_(factor)


def sampled(planes: Float[Tensor, "B 3 F H W"], places: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3*F"]:
    """What three planes hold at the projections of places in (−1, 1)³, interpolated linearly, one plane after the
    other."""
    found = []
    for plane, axes in zip(planes.unbind(1), PLANES, strict=True):
        where = places[..., list(axes)].unsqueeze(1)
        found.append(F.grid_sample(plane, where, padding_mode="border", align_corners=False).squeeze(2))
    return torch.cat(found, dim=1).transpose(1, 2)


def _linear(layer: nn.Linear, values: Tensor) -> Tensor:
    return F.linear(values, layer.weight.to(values), layer.bias.to(values))
