"""The decoder that MAE and GMAE share.

Letters in shapes: B images, C channels, H W pixels, N patches, V visible patches, T tokens, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.masking import Grid, Mask
from splatlearn.models.nn.attention import Common
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.positions import Positioned, gather_tokens
from splatlearn.models.nn.sizes import DecoderConfig, ViTConfig


class Decoder(Positioned):
    """A linear map from the encoder's width, and blocks over any sequence of tokens, with a final norm."""

    def __init__(self, encoder: ViTConfig, config: DecoderConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(encoder.grid, config.embed_dim)
        self.embed = nn.Linear(encoder.embed_dim, config.embed_dim)
        self.blocks = nn.ModuleList(
            [Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)]
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        initialize(self, generator)

    def embed_latent(self, latent: Float[Tensor, "B T D"], grid: Grid, mask: Mask | None) -> Float[Tensor, "B T d"]:
        """Project the encoder's tokens to the decoder's width and add the positions of their patches."""
        positions = self.positions(grid)
        if mask is not None:
            visible = gather_tokens(positions[:, 1:], mask.visible)
            positions = torch.cat([positions[:, :1].expand(mask.batch, -1, -1), visible], dim=1)
        return self.embed(latent) + positions

    def forward(self, tokens: Float[Tensor, "B T d"], common: Common, last: int) -> Float[Tensor, "B M d"]:
        """Run the blocks and the final norm over each image's tokens, with the `common` ones appended.

        Returns the last `last` tokens, the only ones that the last block computes.
        """
        blocks = list(self.blocks)
        for index, block in enumerate(blocks):
            only = last if index == len(blocks) - 1 else None
            tokens = block(tokens, only, common if index == 0 else None)
        return self.norm(tokens)
