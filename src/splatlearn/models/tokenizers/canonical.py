"""One order of each splat set, whatever order its Gaussians came in.

Letters in shapes: B sets, N Gaussians of each.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES, NUMBERS
from splatlearn.core.geometry.point_groups import morton_codes

TIE_BITS = 33
"""Bits of a key that order the Gaussians of one cell of Morton's curve."""


def canonical(sets: Float[Tensor, "B N 14"]) -> Float[Tensor, "B N 14"]:
    """The sets with their Gaussians along Morton's curve; those of one cell are in the order of a hash of all numbers.

    Everything that follows is then exactly the same for every order of a set: Gaussians with equal keys are equal, but
    for collisions of a hash of 33 bits within a cell.
    """
    order = _keys(sets.detach()).argsort(dim=1)
    return torch.gather(sets, 1, order.unsqueeze(-1).expand(-1, -1, NUMBERS))


def _keys(sets: Float[Tensor, "B N 14"]) -> Int64[Tensor, "B N"]:
    # Adding 0 makes one zero of the two.
    bits = (sets.float() + 0.0).contiguous().view(torch.int32).movedim(-1, 0).long()
    mixed = (bits * _factors(sets.device)[:, None, None]).sum(dim=0)
    # The finaliser of SplitMix64, whose shifts are logical.
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        mixed = (mixed ^ ((mixed >> shift) & (2 ** (64 - shift) - 1))) * factor
    ties = (mixed >> 31) & (2**TIE_BITS - 1)
    return (morton_codes(sets[..., ATTRIBUTES["means"]]) << TIE_BITS) | ties


def _factors(device: torch.device) -> Int64[Tensor, " 14"]:
    """Odd factors of 64 bits that tell the columns apart."""
    golden = 0x9E3779B97F4A7C15
    values = [(golden * (2 * column + 1)) % 2**64 | 1 for column in range(NUMBERS)]
    return torch.tensor([value - 2**64 if value >= 2**63 else value for value in values], device=device)
