"""Groups of parameters with and without weight decay."""

from __future__ import annotations

import torch
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float, tokens: bool = False) -> list[dict]:
    """Two groups for AdamW: matrices decay; biases and norms do not.

    `tokens`: whether class and mask tokens, queries and anchors decay too, as in the official code of MAE, which
    exempts parameters of one axis and biases alone.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decays = [p for name, p in named if _decays(name, p, tokens)]
    rest = [p for name, p in named if not _decays(name, p, tokens)]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _decays(name: str, parameter: torch.Tensor, tokens: bool) -> bool:
    # Tokens are stored as [1, n, width]: each is a vector, whatever its number of axes.
    is_token = any(word in name for word in ("token", "query", "anchors"))
    return parameter.ndim >= 2 and (tokens or not is_token)
