"""A transformer's block with timm's parameter names.

Letters in shapes: B images, N tokens, M of them that ask, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.models.nn.fused_block import AttentionHalf, MlpHalf, is_untouched, residual
from splatlearn.models.nn.layers import attention, gelu
from splatlearn.models.nn.positions import gather_tokens

DEEPEST = 1024
"""Blocks that an encoder or a decoder may have."""


def check_sizes(embed_dim: int, depth: int, num_heads: int, mlp_ratio: float) -> None:
    """Raise InputError unless blocks of these sizes can be built."""
    if depth < 1 or num_heads < 1 or embed_dim < 1 or embed_dim % num_heads or embed_dim % 4:
        raise InputError(
            "embed_dim, depth, num_heads: expected positive numbers and an embed_dim that num_heads and (for the "
            f"positions) 4 divide, got embed_dim {embed_dim}, depth {depth}, num_heads {num_heads}"
        )
    if depth > DEEPEST:
        raise InputError(f"depth: expected at most {DEEPEST} blocks, got {depth}")
    if not 1 <= embed_dim * mlp_ratio < 2**31:
        raise InputError(
            f"mlp_ratio: expected a number that gives an MLP of embed_dim {embed_dim} 1 to 2^31 hidden units, "
            f"got {mlp_ratio}"
        )


@dataclass(frozen=True, eq=False)
class Common:
    """Tokens that are the same for all images: `tokens` [1, R, D], of which an image has the rows `places` [B, S].

    Without places it has all of them. What depends on a token alone is worked out once for all images.
    """

    tokens: Float[Tensor, "1 R D"]
    places: Int64[Tensor, "B S"] | None = None

    def dealt(self, values: Float[Tensor, "1 R E"], batch: int) -> Float[Tensor, "B S E"]:
        """What has been made of the tokens, for each image of a batch."""
        return values.expand(batch, -1, -1) if self.places is None else gather_tokens(values, self.places)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """What each of the tokens, or each of the `last` of them, takes from all; those in common come behind."""
        embed_dim = tokens.shape[-1]
        if common is not None:
            vectors = torch.cat([self.qkv(tokens), common.dealt(self.qkv(common.tokens), tokens.shape[0])], dim=1)
            parts = [vectors] if last is None else [vectors[:, -last:, :embed_dim], vectors[..., embed_dim:]]
        elif last is None or last == tokens.shape[1]:
            parts = [self.qkv(tokens)]
        else:
            weights, biases = self.qkv.weight, self.qkv.bias
            query = F.linear(tokens[:, -last:], weights[:embed_dim], biases[:embed_dim])
            parts = [query, F.linear(tokens, weights[embed_dim:], biases[embed_dim:])]
        return self.proj(attention(self.num_heads, *parts))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, embed_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, embed_dim)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(gelu(self.fc1(tokens)))


class Block(nn.Module):
    """A pre-norm transformer block; `drop_path` is the chance that a training image skips a residual branch."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))

    def forward(
        self, tokens: Float[Tensor, "B N D"], last: int | None = None, common: Common | None = None
    ) -> Float[Tensor, "B M D"]:
        """All tokens, those in common last, or the `last` of them, behind the block; every one is attended to."""
        mlp = [MlpHalf(self.norm2, self.mlp.fc1, self.mlp.fc2)] if is_untouched(self.mlp, Mlp) else []
        if mlp and last is None and common is None and is_untouched(self.attn, Attention) and not self._skips():
            attn = AttentionHalf(self.attn.num_heads, self.norm1, self.attn.qkv, self.attn.proj)
            done = residual(tokens, attn, *mlp)
            if done is not None:
                return done
        if common is None:
            attended = self.attn(self.norm1(tokens), last)
        else:
            attended = self.attn(self.norm1(tokens), last, replace(common, tokens=self.norm1(common.tokens)))
            tokens = torch.cat([tokens, common.dealt(common.tokens, tokens.shape[0])], dim=1)
        tokens = (tokens if last is None else tokens[:, -last:]) + self._maybe_skip(attended)
        done = residual(tokens, *mlp) if mlp and not self._skips() else None
        return tokens + self._maybe_skip(self.mlp(self.norm2(tokens))) if done is None else done

    def _skips(self) -> bool:
        return self.training and self.drop_path > 0.0

    def _maybe_skip(self, branch: Tensor) -> Tensor:
        if not self._skips():
            return branch
        keep = 1.0 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep).div_(keep)
