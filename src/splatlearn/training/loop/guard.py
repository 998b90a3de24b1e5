"""The guard against non-finite gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from splatlearn.core.errors import SplatlearnError
from splatlearn.runs.processes import whole


class NonFiniteError(SplatlearnError, RuntimeError):
    """Too many steps in a row had a non-finite loss or gradient."""


class FiniteGuard:
    """Skips the optimiser steps whose gradient is not finite, and counts them.

    `clip` looks at the gradient, `step` takes the step or skips it (see `step_if_finite`), and `look` says afterwards
    what became of it: asked when the next step's work is queued, it waits for the older step alone, so that the device
    never idles.

    `limit`: steps in a row that may be skipped, before `check` raises.
    """

    def __init__(self, device: torch.device, limit: int = 10) -> None:
        self.limit = limit
        self.skipped = 0
        self.in_a_row = 0
        self._cuda = device.type == "cuda"
        self._flag: tuple[Tensor, torch.cuda.Event | None] | None = None

    def clip(self, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
        """Clip the gradient to a norm, and prepare to skip a non-finite one; returns the norm before clipping."""
        norm, bad = clip_and_arm(parameters, optimizer, clip_norm)
        if self._cuda:
            copy = torch.empty((), pin_memory=True).copy_(bad, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._flag = (copy, event)
        else:
            self._flag = (bad, None)
        return norm

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimiser's step on the gradient that was clipped last, unless that was not finite."""
        bad = None if self._flag is None else self._flag[0]
        step_if_finite(optimizer, bad)

    def look(self) -> bool:
        """Return whether the most recent step was skipped, and clear the flag."""
        if self._flag is None:
            return False
        (bad, event), self._flag = self._flag, None
        if event is not None:
            event.synchronize()
        skipped = bool(bad)
        self.skipped += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        return skipped

    @property
    def exhausted(self) -> bool:
        """Whether `limit` steps in a row were skipped."""
        return self.in_a_row >= self.limit

    def check(self, step: int) -> None:
        """Raise NonFiniteError when `limit` steps in a row up to this one were skipped."""
        if self.exhausted:
            raise NonFiniteError(
                f"The loss or its gradient was NaN or infinite for {self.in_a_row} steps in a row up to step {step}; "
                "none of them touched the weights, and the last checkpoint is good. Lower base_learning_rate, lengthen "
                "warmup_epochs or use --precision fp32, and --resume"
            )


def clip_and_arm(
    parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer, clip_norm: float
) -> tuple[Tensor, Tensor]:
    """Clip a gradient, and tell a fused optimiser whether it is finite; returns the norm before, and 1 if it is not.

    `step_if_finite` takes the step then.
    """
    norm = whole(nn.utils.clip_grad_norm_(parameters, clip_norm).detach())
    bad = (~torch.isfinite(norm)).float()
    if is_fused(optimizer):
        optimizer.found_inf = bad  # type: ignore[attr-defined]
        optimizer.grad_scale = None  # type: ignore[attr-defined]
    return norm, bad


def step_if_finite(optimizer: torch.optim.Optimizer, bad: Tensor | None) -> None:
    """Take an optimiser's step, unless `bad` is 1, as `clip_and_arm` returned it; weights and moments stay then.

    A fused optimiser reads its `found_inf` on the device and skips the step itself. Any other must be told by waiting
    for the device: it has no such flag.
    """
    if bad is None or is_fused(optimizer) or not bool(bad):
        optimizer.step()


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimiser updates all weights in one operation that can be disabled on the device (`found_inf`)."""
    return bool(optimizer.defaults.get("fused"))


def finite_or_nan(loss: Tensor) -> Tensor:
    """The loss, so that a non-finite one has a gradient of NaN everywhere, which all processes then see; else itself.

    An infinite loss may have a finite gradient in the process that met it.
    """
    return loss * torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan)
