"""A pre-norm transformer block with timm's parameter names.

Letters in shapes: B images, N tokens, M tokens returned, D embedding dimension.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.nn.attention import Attention, Common
from splatlearn.models.nn.fused_block import fused_residual
from splatlearn.models.nn.mlp import Mlp


class Block(nn.Module):
    """A pre-norm transformer block: x + attn(norm1(x)), then x + mlp(norm2(x)).

    `drop_path`, 0 at first, is the probability that a training image skips a residual branch.
    """

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.drop_path = 0.0
        self.norm1 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """Apply the block to tokens and, appended to them, the `common` ones, which all attend to each other.

        If `last` is given, only the last `last` tokens are computed and returned.
        """
        drops = self.training and self.drop_path > 0.0
        if last is None and common is None and not drops:
            fused = fused_residual(tokens, (self.norm1, self.attn), (self.norm2, self.mlp))
            if fused is not None:
                return fused
        tokens, attended = self._attend(tokens, last, common)
        tokens = tokens + self._drop(attended)
        fused = None if drops else fused_residual(tokens, (self.norm2, self.mlp))
        return fused if fused is not None else tokens + self._drop(self.mlp(self.norm2(tokens)))

    def _attend(self, tokens: Tensor, last: int | None, common: Common | None) -> tuple[Tensor, Tensor]:
        """Return the tokens that are kept and what the attention adds to them."""
        if common is None:
            attended = self.attn(self.norm1(tokens), last)
        else:
            attended = self.attn(self.norm1(tokens), last, replace(common, tokens=self.norm1(common.tokens)))
            tokens = torch.cat([tokens, common.dealt(common.tokens, tokens.shape[0])], dim=1)
        return tokens if last is None else tokens[:, -last:], attended

    def _drop(self, branch: Tensor) -> Tensor:
        """Zero the branch of randomly chosen training images and scale the others to keep the expectation."""
        if not (self.training and self.drop_path > 0.0):
            return branch
        keep = 1.0 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep).div_(keep)
