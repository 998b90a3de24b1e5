"""Learning rates as functions of the step."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.numbers import half_cosine


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
        return self.minimum + (self.peak - self.minimum) * half_cosine(min(1.0, progress), 1.0)
