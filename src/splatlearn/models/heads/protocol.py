"""What every head of Gaussians does: features of queries in, Gaussians out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.gaussians import Gaussians


@runtime_checkable
class GaussianHead(Protocol):
    """The last layers of a network that predicts Gaussians.

    Layout: features [B, Q, d] of Q queries become Gaussians [B, K], K = Q·r, of which q·r to q·r + r − 1 are those of
    query q. All numbers are computed in float32 at least, whatever autocast says.
    """

    def gaussians(
        self,
        features: Float[Tensor, "B Q d"],
        anchors: Float[Tensor, "N 14"] | None = None,
        seen: Float[Tensor, "B S 3"] | None = None,
    ) -> Gaussians:
        """Return Gaussians [B, K].

        - `anchors`: what is added to the numbers that the layers predict; see `first_numbers`.
        - `seen`: the colours that Gaussians start from where they are residual, S = K or 1.
        """
        ...

    def first_numbers(self) -> Float[Tensor, "N 14"]:
        """Return anchors such that Gaussians start as a grid over the picture."""
        ...

    def shift_number(self, number: int, value: float) -> None:
        """Add to the bias of one of the 14 numbers of every Gaussian that is not relative to another."""
        ...

    def scale_weights(self, factor: float) -> None:
        """Multiply the weights that the numbers come from."""
        ...
