"""The multi-layer perceptron of a transformer block."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.models.nn.layers import gelu


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, with timm's parameter names."""

    def __init__(self, embed_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, embed_dim)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.fc2(gelu(self.fc1(tokens)))
