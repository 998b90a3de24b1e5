"""The decoder of splat sets: tokens of hidden groups from those of visible ones and their places.

Letters in shapes: B sets, V visible and M hidden groups, T tokens, D and d widths.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.masking import Mask
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.positions import gather_tokens
from splatlearn.models.nn.sizes import DecoderConfig
from splatlearn.models.splats.encoder import Places


class SplatDecoder(nn.Module):
    """A linear map from the encoder's width, a mask token at each hidden place, and the blocks of MAE's decoder."""

    def __init__(self, encoder_dim: int, config: DecoderConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder_dim, config.embed_dim)
        self.places = Places(config.embed_dim, generator)
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self.blocks = nn.ModuleList(
            [Block(config.embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)]
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        initialize(self.embed, generator)
        initialize(self.blocks, generator)
        nn.init.normal_(self.mask_token, std=0.02, generator=generator)

    def forward(
        self, latent: Float[Tensor, "B T D"], centers: Float[Tensor, "B G 3"], mask: Mask
    ) -> Float[Tensor, "B M d"]:
        """Decoded tokens of the hidden groups.

        - `latent`: the encoder's tokens, the class token first, then the visible groups.
        - `centers`: of all groups; a decoder knows where hidden ones are.
        """
        tokens = self.embed(latent)
        visible = tokens[:, 1:] + self.places(gather_tokens(centers, mask.visible))
        hidden = self.mask_token + self.places(gather_tokens(centers, mask.hidden))
        tokens = torch.cat([tokens[:, :1], visible, hidden.to(visible.dtype)], dim=1)
        blocks = list(self.blocks)
        for index, block in enumerate(blocks):
            tokens = block(tokens, mask.hidden.shape[1] if index == len(blocks) - 1 else None)
        return self.norm(tokens)
