"""The optimiser of pre-training: parameter groups, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up from 0, then half a cosine down to `minimum` (Loshchilov & Hutter 2017, without restarts).

    `peak` and `minimum` are learning rates; `warmup` and `total` are steps. A function of the step alone: resuming
    needs no state.
    """

    peak: float
    warmup: float
    total: int
    minimum: float = 0.0

    def __call__(self, step: int) -> float:
        """The learning rate of step 0, 1, …, total − 1."""
        if step < self.warmup:
            return self.peak * step / self.warmup
        progress = (step - self.warmup) / max(1.0, self.total - self.warmup)
        return self.minimum + (self.peak - self.minimum) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


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
