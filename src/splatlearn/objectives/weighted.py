"""Sums of weighted terms that report their parts by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.masked_autoencoder import MaskedOutput

Term = Callable[[MaskedOutput, Tensor], Tensor]
"""A loss of a reconstruction and its target images [B, C, H, W] in [0, 1]: a scalar tensor."""


@dataclass(frozen=True, eq=False)
class ObjectiveValue:
    """A loss to differentiate, its terms before weighting by name, and other scalars for the log."""

    loss: Float[Tensor, ""]
    parts: dict[str, Tensor]
    measures: dict[str, Tensor] = field(default_factory=dict)


def mean_value(values: Sequence[ObjectiveValue]) -> ObjectiveValue:
    """The mean of what equal parts of a batch cost."""

    def mean(tensors: Iterable[Tensor]) -> Tensor:
        return torch.stack([each.detach() for each in tensors]).mean()

    first = values[0]
    return ObjectiveValue(
        mean(each.loss for each in values),
        {name: mean(each.parts[name] for each in values) for name in first.parts},
        {name: mean(each.measures[name] for each in values) for name in first.measures},
    )


class WeightedSum:
    """The weighted sum of named terms: `Σ weight · term(reconstruction, target)`.

    `terms` maps a name to (weight, term). Raises InputError when there is no term or all weights are zero.
    """

    def __init__(self, terms: Mapping[str, tuple[float, Term]]) -> None:
        if not any(weight for weight, _ in terms.values()):
            raise InputError(f"terms: expected at least one with a weight other than 0, got {sorted(terms)}")
        self.terms = dict(terms)

    def __call__(self, reconstruction: MaskedOutput, target: Float[Tensor, "B C H W"]) -> ObjectiveValue:
        parts: dict[str, Tensor] = {}
        loss: Tensor | float = 0.0
        for name, (weight, term) in self.terms.items():
            value = term(reconstruction, target)
            parts[name] = value.detach()
            loss = loss + weight * value
        assert isinstance(loss, Tensor)
        return ObjectiveValue(loss, parts)
