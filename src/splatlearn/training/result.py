"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    folder: Path
    steps: int
    """Optimiser steps done in all, resumed ones included."""
    total: int
    """Steps of the whole recipe."""
    done: int
    """Steps of this call; 0 where the run was finished, or stood where this call was to stop."""
    loss: float
    """Mean loss of the last steps that were logged."""
    seconds: float
    """Seconds spent in this call's steps."""
    images_per_second: float
    interrupted: bool
    """Whether it stopped before the end."""
    requeue: bool
    """Whether it stopped because SIGTERM or SIGUSR1 asked it to."""
    main: bool
    """Whether this is the main process."""
