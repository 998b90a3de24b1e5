"""Multi-head self-attention.

Letters in shapes: B images, N tokens, M queries, R shared tokens, S of them in each image, D embedding dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splatlearn.models.nn.layers import attention
from splatlearn.models.nn.positions import gather_tokens


@dataclass(frozen=True, eq=False)
class Common:
    """Tokens that all images share, so that functions of a single token are computed once instead of per image.

    - `tokens` [1, R, D].
    - `places` [B, S]: the rows of `tokens` that each image has; None if every image has all of them.
    """

    tokens: Float[Tensor, "1 R D"]
    places: Int64[Tensor, "B S"] | None = None

    def dealt(self, values: Float[Tensor, "1 R E"], batch: int) -> Float[Tensor, "B S E"]:
        """Return the rows of `values`, computed from `tokens`, for each image of a batch."""
        return values.expand(batch, -1, -1) if self.places is None else gather_tokens(values, self.places)


class Attention(nn.Module):
    """Multi-head self-attention with timm's parameter names."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """Self-attention. If `last` is given, only the last `last` tokens are queries.

        `common` tokens are appended to the tokens, and so to the keys and values.
        """
        embed_dim = tokens.shape[-1]
        if common is not None:
            vectors = torch.cat([self.qkv(tokens), common.dealt(self.qkv(common.tokens), tokens.shape[0])], dim=1)
            parts = [vectors] if last is None else [vectors[:, -last:, :embed_dim], vectors[..., embed_dim:]]
        elif last is None or last == tokens.shape[1]:
            parts = [self.qkv(tokens)]
        else:
            # The queries of the other tokens are not computed.
            weights, biases = self.qkv.weight, self.qkv.bias
            query = F.linear(tokens[:, -last:], weights[:embed_dim], biases[:embed_dim])
            parts = [query, F.linear(tokens, weights[embed_dim:], biases[embed_dim:])]
        return self.proj(attention(self.num_heads, *parts))
