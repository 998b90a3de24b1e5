"""First weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw linear and patch-embedding weights Xavier-uniform and set biases to 0, norms to 1 (official MAE)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(part.weight.shape[0], -1), generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
