"""The last layers of a GMAE: from a decoded token to the numbers of its Gaussians."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.gaussians import Gaussians
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_numbers import NUMBERS, at_least_float32, gaussians_from_numbers, grid_numbers
from splatlearn.models.heads.hierarchical_head import HierarchicalHead
from splatlearn.models.heads.triplane_head import TriplaneHead
from splatlearn.models.nn.initial import initialize


class FlatHead(nn.Module):
    """A head that predicts the 14 numbers of each Gaussian by themselves."""

    config: GMAEConfig

    def gaussians(
        self,
        features: Float[Tensor, "B Q d"],
        anchors: Float[Tensor, "K 14"] | None = None,
        seen: Float[Tensor, "B S 3"] | None = None,
    ) -> Gaussians:
        """Return Gaussians [B, K]; see `GaussianHead`."""
        numbers = predict_numbers(self, features)
        return gaussians_from_numbers(numbers if anchors is None else numbers + anchors, self.config, seen)

    def first_numbers(self) -> Float[Tensor, "K 14"]:
        """Return anchors such that Gaussians start as a grid; see `GaussianHead`."""
        return grid_numbers(self.config)


class JointHead(nn.Linear, FlatHead):
    """One linear layer for all numbers."""

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config.decoder.embed_dim, config.gaussians_per_query * sum(NUMBERS))
        self.config = config
        initialize(self, generator)

    @torch.no_grad()
    def shift_number(self, number: int, value: float) -> None:
        """Add to the bias of one of the 14 numbers of every Gaussian."""
        self.bias[number :: sum(NUMBERS)] += value

    @torch.no_grad()
    def scale_weights(self, factor: float) -> None:
        """Multiply the weights that the numbers come from."""
        self.weight.mul_(factor)


class SeparateHeads(FlatHead):
    """An MLP of two layers for each of centre, scale, rotation, colour and opacity."""

    def __init__(self, config: GMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        embed_dim = config.decoder.embed_dim
        self.hidden = nn.ModuleList([nn.Linear(embed_dim, embed_dim) for _ in NUMBERS])
        self.out = nn.ModuleList([nn.Linear(embed_dim, config.gaussians_per_query * size) for size in NUMBERS])
        initialize(self, generator)

    def forward(self, tokens: Float[Tensor, "B Q d"]) -> Float[Tensor, "B Q N"]:
        """14 numbers for each of a query's Gaussians, in the order of `NUMBERS`."""
        parts = []
        for size, hidden, out in zip(NUMBERS, self.hidden, self.out, strict=True):
            numbers = _exact(out, F.gelu(_exact(hidden, tokens)))
            parts.append(numbers.unflatten(-1, (-1, size)))
        return torch.cat(parts, dim=-1).flatten(-2)

    @torch.no_grad()
    def shift_number(self, number: int, value: float) -> None:
        """Add to the bias of one of the 14 numbers of every Gaussian."""
        first = 0
        for size, out in zip(NUMBERS, self.out, strict=True):
            if first <= number < first + size:
                assert isinstance(out, nn.Linear)
                out.bias[number - first :: size] += value
            first += size

    @torch.no_grad()
    def scale_weights(self, factor: float) -> None:
        """Multiply the weights that the numbers come from."""
        for out in self.out:
            assert isinstance(out, nn.Linear)
            out.weight.mul_(factor)


AnyHead = JointHead | SeparateHeads | HierarchicalHead | TriplaneHead
HEADS: dict[str, type[AnyHead]] = {
    "joint": JointHead,
    "separate": SeparateHeads,
    "hierarchical": HierarchicalHead,
    "triplane": TriplaneHead,
}
"""Heads by the name of the option `heads`."""


def make_head(config: GMAEConfig, generator: torch.Generator | None = None) -> AnyHead:
    """The head that a configuration asks for, a `GaussianHead`, with fresh weights."""
    return HEADS[config.heads](config, generator)


def predict_numbers(head: nn.Module, decoded: Float[Tensor, "B Q d"]) -> Float[Tensor, "B K 14"]:
    """The numbers of all Gaussians, those of one query beside each other; in float32 whatever autocast says."""
    # In bfloat16 a centre would move in steps of half a pixel at 224 px.
    with torch.autocast(decoded.device.type, enabled=False):
        exact = at_least_float32(decoded)
        numbers = _exact(head, exact) if isinstance(head, nn.Linear) else head(exact)
    return numbers.unflatten(-1, (-1, sum(NUMBERS))).flatten(1, 2)


def _exact(layer: nn.Module, values: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return F.linear(values, layer.weight.to(values), layer.bias.to(values))
