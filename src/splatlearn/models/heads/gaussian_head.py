"""The last layers of a GMAE: from a decoded token to the numbers of its Gaussians."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.heads.gaussian_numbers import NUMBERS, at_least_float32
from splatlearn.models.nn.initial import initialize


class SeparateHeads(nn.Module):
    """An MLP of two layers for each of centre, scale, rotation, colour and opacity."""

    def __init__(self, embed_dim: int, per_query: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(embed_dim, embed_dim) for _ in NUMBERS])
        self.out = nn.ModuleList([nn.Linear(embed_dim, per_query * size) for size in NUMBERS])
        initialize(self, generator)

    def forward(self, tokens: Float[Tensor, "B Q d"]) -> Float[Tensor, "B Q N"]:
        """14 numbers for each of a query's Gaussians, in the order of `NUMBERS`."""
        parts = []
        for size, hidden, out in zip(NUMBERS, self.hidden, self.out, strict=True):
            numbers = _exact(out, F.gelu(_exact(hidden, tokens)))
            parts.append(numbers.unflatten(-1, (-1, size)))
        return torch.cat(parts, dim=-1).flatten(-2)


def make_head(config: GMAEConfig, generator: torch.Generator | None = None) -> nn.Linear | SeparateHeads:
    """The head that a configuration asks for, with fresh weights."""
    embed_dim, each = config.decoder.embed_dim, config.gaussians_per_query
    if config.heads == "separate":
        return SeparateHeads(embed_dim, each, generator)
    head = nn.Linear(embed_dim, each * sum(NUMBERS))
    initialize(head, generator)
    return head


@torch.no_grad()
def shift_number(head: nn.Linear | SeparateHeads, number: int, value: float) -> None:
    """Add to the bias of one of the 14 numbers of every Gaussian."""
    if isinstance(head, nn.Linear):
        head.bias[number :: sum(NUMBERS)] += value
        return
    first = 0
    for size, out in zip(NUMBERS, head.out, strict=True):
        if first <= number < first + size:
            assert isinstance(out, nn.Linear)
            out.bias[number - first :: size] += value
        first += size


@torch.no_grad()
def scale_last_weights(head: nn.Linear | SeparateHeads, factor: float) -> None:
    """Multiply the weights that the numbers come from."""
    for layer in [head] if isinstance(head, nn.Linear) else head.out:
        assert isinstance(layer, nn.Linear)
        layer.weight.mul_(factor)


def predict_numbers(head: nn.Linear | SeparateHeads, decoded: Float[Tensor, "B Q d"]) -> Float[Tensor, "B K 14"]:
    """The numbers of all Gaussians, those of one query beside each other; in float32 whatever autocast says."""
    # In bfloat16 a centre would move in steps of half a pixel at 224 px.
    with torch.autocast(decoded.device.type, enabled=False):
        exact = at_least_float32(decoded)
        numbers = _exact(head, exact) if isinstance(head, nn.Linear) else head(exact)
    return numbers.unflatten(-1, (-1, sum(NUMBERS))).flatten(1, 2)


def _exact(layer: nn.Module, values: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return F.linear(values, layer.weight.to(values), layer.bias.to(values))
