"""Splat-jepa: predict the tokens of hidden groups as a moving average of the encoder sees them (Gaussian-JEPA).

Source: I-JEPA (Assran et al. 2023); for splats, arXiv 2608.15651. Letters in shapes: B sets, N Gaussians, M hidden
groups, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.masking import Mask
from splatlearn.models.nn.initial import initialize
from splatlearn.models.splats.config import SplatJEPAConfig
from splatlearn.models.splats.decoder import SplatDecoder
from splatlearn.models.splats.encoder import GroupedSets, SplatEncoder


@dataclass(frozen=True, eq=False)
class PredictedTokens:
    """The output of a splat-jepa: predicted tokens [B, M, D] of hidden groups, and the encoder's [B, 1+V, D]."""

    predicted: Float[Tensor, "B M D"]
    latent: Float[Tensor, "B T D"]
    grouped: GroupedSets
    mask: Mask


class SplatJEPA(nn.Module):
    """An encoder of splat sets, and a predictor of the tokens of groups that it did not see.

    Weights are drawn from `generator` (PyTorch's global one by default). The moving average that says what is to be
    predicted belongs to training, not to the model.
    """

    def __init__(self, config: SplatJEPAConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = SplatEncoder(config.encoder, generator)
        self.decoder = SplatDecoder(config.encoder.embed_dim, config.decoder, generator)
        self.head = nn.Linear(config.decoder.embed_dim, config.encoder.embed_dim)
        initialize(self.head, generator)

    def encode(self, sets: Float[Tensor, "B N 14"]) -> Float[Tensor, "B T D"]:
        """Tokens [B, 1+G, D] of placed sets, without masking: the class token, then the groups."""
        return self.encoder(sets)

    def forward(self, sets: Float[Tensor, "B N 14"] | GroupedSets, mask: Mask) -> PredictedTokens:
        """Predict the tokens of hidden groups; raises as the encoder does."""
        grouped = sets if isinstance(sets, GroupedSets) else self.encoder.group(sets)
        latent = self.encoder(grouped, mask)
        predicted = self.head(self.decoder(latent, grouped.groups.centers, mask))
        return PredictedTokens(predicted.float(), latent, grouped, mask)
