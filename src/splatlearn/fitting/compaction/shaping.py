"""Shapings: what stands between the parameters of a fit and the Gaussians that it draws.

Letters in shapes: K Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.views.view_model import OwnNumber


class Shaping:
    """Changes the Gaussians of a fit before they are drawn; this class changes nothing.

    A shaping has no state but numbers of single Gaussians, which the fit moves and stores along with the Gaussian's
    other parameters, so that they follow its edits.

    - `own`: these numbers, by names that no other parameter of a scene has.
    """

    own: Mapping[str, OwnNumber] = MappingProxyType({})

    def of(self, gaussians: Gaussians, own: Mapping[str, Tensor], number: int) -> Gaussians:
        """Return the Gaussians [K] that are drawn in step `number`, with gradients.

        - `own`: the parameters of the fit by name, its own numbers [K] among them.
        """
        return gaussians

    def penalty(self, own: Mapping[str, Tensor]) -> Float[Tensor, ""] | None:
        """Return a term of the loss, or None."""
        return None

    def kept(self, own: Mapping[str, Tensor], number: int) -> Bool[Tensor, " K"] | None:
        """Return the Gaussians to keep after step `number`; None for all of them."""
        return None
