"""Non-finite gradients never reach the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NonFiniteError(RuntimeError):
    """Too many steps in a row had a non-finite loss or gradient."""


class FiniteGuard:
    """Skips the optimiser steps whose gradient is not finite, without a host sync in the step.

    Fused AdamW reads `found_inf` on the device and leaves weights and moments alone where it is 1; the guard sets it
    from the gradient's norm. `check` looks at the counts, which does wait for the device, so call it when logging.
    """

    def __init__(self, device: torch.device, limit: int = 10) -> None:
        self.limit = limit
        self._in_a_row = torch.zeros((), device=device)
        self._longest = torch.zeros((), device=device)
        self._skipped = torch.zeros((), device=device)

    def clip(self, model: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
        """Clip the gradient to a norm, arm the optimiser against a non-finite one, return the norm before clipping."""
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        bad = (~torch.isfinite(norm)).float()
        optimizer.found_inf = bad  # type: ignore[attr-defined]
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._in_a_row = (self._in_a_row + 1) * bad
        self._longest = torch.maximum(self._longest, self._in_a_row)
        self._skipped = self._skipped + bad
        return norm

    def check(self, step: int) -> int:
        """How many steps were skipped so far; raises NonFiniteError when `limit` in a row were."""
        if int(self._longest) >= self.limit:
            raise NonFiniteError(
                f"The loss or its gradient was NaN or infinite for {int(self._longest)} steps in a row up to step "
                f"{step}; none of them touched the weights, and the last checkpoint is good. Lower base_learning_rate, "
                "lengthen warmup_epochs or use --precision fp32, and --resume"
            )
        return int(self._skipped)
