"""Splat-mae: reconstruct the Gaussians of hidden groups (Gaussian-MAE, Ma et al. 2024, arXiv 2408.10906).

Letters in shapes: B sets, N Gaussians, V visible and M hidden groups, k members of a group, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.attributes import ATTRIBUTES, NUMBERS, upper_quaternions
from splatlearn.models.masking import Mask
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.positions import gather_tokens
from splatlearn.models.splats.config import SplatMAEConfig
from splatlearn.models.splats.decoder import SplatDecoder
from splatlearn.models.splats.encoder import GroupedSets, SplatEncoder
from splatlearn.models.splats.numbers import activated


@dataclass(frozen=True, eq=False)
class SplatOutput:
    """The output of a splat-mae.

    - `predicted`, `target` [B, M, k, 14]: normalised numbers of the hidden groups' members, means relative to the
      centre. Members of a target are in order of their distance from the centre.
    - `latent` [B, 1+V, D]: the encoder's normed tokens, the class token first.
    - `grouped`, `mask`: what was seen, and which groups of it were hidden.
    """

    predicted: Float[Tensor, "B M k 14"]
    target: Float[Tensor, "B M k 14"]
    latent: Float[Tensor, "B T D"]
    grouped: GroupedSets
    mask: Mask


class SplatMAE(nn.Module):
    """A masked autoencoder of splat sets, whose decoder predicts all attributes of hidden groups' members.

    Weights are drawn from `generator` (PyTorch's global one by default).
    """

    def __init__(self, config: SplatMAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = SplatEncoder(config.encoder, generator)
        self.decoder = SplatDecoder(config.encoder.embed_dim, config.decoder, generator)
        self.head = nn.Linear(config.decoder.embed_dim, config.encoder.group_size * NUMBERS)
        initialize(self.head, generator)

    def encode(self, sets: Float[Tensor, "B N 14"]) -> Float[Tensor, "B T D"]:
        """Tokens [B, 1+G, D] of placed sets, without masking: the class token, then the groups."""
        return self.encoder(sets)

    def forward(self, sets: Float[Tensor, "B N 14"] | GroupedSets, mask: Mask) -> SplatOutput:
        """Reconstruct the hidden groups of sets of activated, placed attributes.

        Raises TypeError and InputError as the encoder does.
        """
        grouped = sets if isinstance(sets, GroupedSets) else self.encoder.group(sets)
        latent = self.encoder(grouped, mask)
        numbers = self.head(self.decoder(latent, grouped.groups.centers, mask))
        size, reach = self.config.encoder.group_size, self.config.encoder.reach
        target = grouped.local(mask.hidden, reach, size)
        return SplatOutput(_predicted(numbers.float().unflatten(-1, (size, NUMBERS))), target, latent, grouped, mask)

    def reconstruction(self, output: SplatOutput) -> Float[Tensor, "B K 14"]:
        """Activated attributes of the predicted Gaussians [B, M·k, 14], in place.

        Raises InputError for `"paper"` scale numbers, which do not say how large a Gaussian is.
        """
        return in_place(output.predicted, output, self.config.encoder.reach)


def in_place(numbers: Float[Tensor, "B M k 14"], output: SplatOutput, reach: float) -> Float[Tensor, "B K 14"]:
    """Activated attributes of normalised numbers of hidden groups, moved to their groups' centres."""
    centers = gather_tokens(output.grouped.groups.centers, output.mask.hidden)
    means = numbers[..., ATTRIBUTES["means"]] / reach + centers.unsqueeze(2)
    return activated(torch.cat([means, numbers[..., 3:]], dim=-1)).flatten(1, 2)


def _predicted(numbers: Float[Tensor, "B M k 14"]) -> Float[Tensor, "B M k 14"]:
    """The last layer's numbers as normalised attributes: opacities within [−1, 1], quaternions from the identity on."""
    parts = {name: numbers[..., place] for name, place in ATTRIBUTES.items()}
    parts["opacities"] = parts["opacities"].tanh()
    one = numbers.new_tensor([1.0, 0.0, 0.0, 0.0])
    parts["quaternions"] = upper_quaternions(parts["quaternions"] + one)
    return torch.cat([parts[name] for name in ATTRIBUTES], dim=-1)
