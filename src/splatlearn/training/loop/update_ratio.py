"""Length of a step relative to the length of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from splatlearn.runs.processes import Processes, local
from splatlearn.training.loop.processes import is_sharded


class UpdateRatio:
    """‖weights after − weights before‖ / ‖weights before‖ of the steps that it is asked to watch.

    Watching a step holds a copy of the weights, so that it is not done in every one.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._squares: Tensor | None = None
        self._sharded = False

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Measure the step that is taken inside the block."""
        parameters = [local(parameter).detach() for parameter in model.parameters() if parameter.requires_grad]
        before = [parameter.clone() for parameter in parameters]
        yield
        moved = torch._foreach_norm([one - other for one, other in zip(parameters, before, strict=True)])  # pyright: ignore[reportPrivateImportUsage]
        length = torch._foreach_norm(before)  # pyright: ignore[reportPrivateImportUsage]
        self._squares = torch.stack([torch.stack(moved).square().sum(), torch.stack(length).square().sum()])
        self._sharded = any(is_sharded(module) for module in model.modules())

    def measured(self) -> dict[str, Tensor]:
        """`update_ratio` of the last step that was watched; nothing where none was."""
        if self._squares is None:
            return {}
        squares, self._squares = self._squares.cpu().double(), None
        if self._sharded:
            squares = self._processes.mean(squares)  # a common factor leaves the ratio alone
        return {"update_ratio": (squares[0] / squares[1]).sqrt()}
