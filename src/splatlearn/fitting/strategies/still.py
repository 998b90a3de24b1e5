"""The strategy that edits nothing: the same Gaussians from the first step to the last."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.strategies.strategy import Edits, Step


class StillStrategy:
    """Moves Gaussians, and neither adds nor removes any."""

    cap: int | None = None
    """There is no limit, since the number stays."""

    def info(self, number: int) -> bool:
        """Return False: nothing is collected."""
        return False

    def wants_errors(self, number: int) -> bool:
        """Return False: errors change nothing."""
        return False

    def before_backward(self, gaussians: Gaussians, extent: float) -> None:
        """Return None: nothing is added to the loss."""

    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        """Return that nothing was edited."""
        return Edits()

    def follow(self, kept: Bool[Tensor, " K"]) -> None:
        """Forget nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over nothing; raises FormatError for a state."""
        if state:
            raise FormatError(f"state: expected none of StillStrategy, got {', '.join(sorted(state))}")
