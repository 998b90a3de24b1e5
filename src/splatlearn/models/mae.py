"""MAE: reconstruct the pixels of hidden patches (He et al. 2022, arXiv 2111.06377)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.kinds import check_kind
from splatlearn.models.masked_autoencoder import MaskedAutoencoder, MaskedConfig, MaskedOutput
from splatlearn.models.masking import Mask
from splatlearn.models.nn.attention import Common
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.patches import unpatchify
from splatlearn.models.nn.positions import scatter_tokens


@dataclass(frozen=True)
class MAEConfig(MaskedConfig):
    """Sizes of a MAE's encoder and decoder."""


class MAE(MaskedAutoencoder):
    """A masked autoencoder whose decoder predicts every patch's pixels at the patch's own place.

    Weights are drawn from `generator` (PyTorch's global one by default) as in the official code.
    """

    def __init__(self, config: MAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.config = config
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.decoder.embed_dim))
        self.head = nn.Linear(config.decoder.embed_dim, config.encoder.patch_size**2 * config.encoder.channels)
        initialize(self.head, generator)
        nn.init.normal_(self.mask_token, std=0.02, generator=generator)

    def forward(self, images: Float[Tensor, "B C H W"], mask: Mask, visible: bool = True) -> MaskedOutput:
        """Reconstruct images [B, C, H, W] in [0, 1] from the patches that the mask leaves visible.

        Height and width may be any multiples of the patch. Without `visible` only hidden patches are predicted, for
        less work, and the others are 0. Raises TypeError for images that are not floating-point and ValueError when
        they, the patch and the mask do not fit.
        """
        check_kind("mask", mask, Mask)
        latent = self.encoder(images, mask)
        patches = self.decode(latent, mask, visible)
        return MaskedOutput(unpatchify(patches, self.patch_size, mask.grid), mask, latent)

    def decode(self, latent: Float[Tensor, "B T D"], mask: Mask, visible: bool = True) -> Float[Tensor, "B N PPC"]:
        """Predict all patches, row by row, from the tokens of the visible ones; without `visible` these are 0."""
        seen = self.decoder.embed_latent(latent, mask.grid, mask)
        hidden = (self.mask_token + self.decoder.positions(mask.grid)[:, 1:]).to(seen.dtype)
        # Attention does not care about order: only the predictions are sorted back to their places.
        places = torch.cat([mask.visible, mask.hidden], dim=1) if visible else mask.hidden
        predicted = self.head(self.decoder(seen, Common(hidden, mask.hidden), places.shape[1]))
        return scatter_tokens(predicted, places, mask.grid[0] * mask.grid[1])
