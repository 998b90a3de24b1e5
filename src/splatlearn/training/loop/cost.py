"""The cost of a batch: everything between a batch and its loss, for the loop and for the replay of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.objectives import ObjectiveValue
from splatlearn.runs.tensor_files import TensorFiles


class Cost(ABC):
    """The loss of batches on a device in a precision; a function of the model, the batch and its place in the run."""

    joins_processes = False
    """Whether the batches of several processes are treated as one."""
    comes_in_parts = False
    """Whether the cost of a batch is the mean over its equal parts, which other threads may compute with copies."""

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Any, epoch: int, place: int) -> ObjectiveValue:
        """The loss of the batch that comes at a place in an epoch; processes have batches at different places."""

    def at(self, done: float, step: int) -> None:
        """Called before each step with the share of training that is done, in [0, 1], and the step's number from 0."""
        return None

    def networks(self) -> dict[str, Tensor]:
        """Weights and moments of networks that learn during the call, by name."""
        return {}

    def restore(self, files: TensorFiles) -> None:
        """Restore the state that `networks` returned."""
        return None

    def autocast(self) -> torch.autocast:
        """The context in which the model computes."""
        # The cache is one for all threads, and is emptied when the first of them leaves.
        cached = self.device.type != "cpu"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=cached)
