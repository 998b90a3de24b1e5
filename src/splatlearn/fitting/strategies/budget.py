"""The number of Gaussians as a function of the step: Turbo-GS's curve, and an exponent that follows the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.numbers import check_number, check_whole

SPAN = 100.0
"""The curve is a power of a time that goes from 1 to this."""
SWING = 0.5
"""Largest change of the exponent by the loss."""
WARM_UP = 100
"""Steps before the loss counts, and the shortest span of recent steps."""
RECENT_SHARE = 0.25
"""Span of recent steps, as a share of the steps so far."""
SUMS = 5
"""Number of sums of a weighted linear regression: weights, x, y, x², x·y."""


@dataclass(frozen=True)
class Budget:
    """The number of Gaussians over steps (Turbo-GS, arXiv 2412.13547).

    - `first`, `last`: numbers at the beginning and at the end of growth.
    - `exponent`: α of the curve B = N + (τ^α − 1) / (100^α − 1) · (M − N) over a time τ from 1 to 100. Below 1 most of
      the growth comes early, at 1 it is even, above 1 it comes late; 0 is the limit log τ / log 100.
    - `adapts`: raise α while the loss falls faster than it used to, and lower it when it slows down, by at most ½
      (`LossSlopes`).

    Raises InputError for numbers out of range.
    """

    first: int
    last: int
    exponent: float = 1.0
    adapts: bool = False

    def __post_init__(self) -> None:
        check_whole("first", self.first, 0)
        check_whole("last", self.last, 1)
        check_number("exponent", self.exponent)

    def at(self, share: float, change: float = 0.0) -> int:
        """Return the number after a share of the growth, in [0, 1], with `change` added to the exponent."""
        exponent, time = self.exponent + change, math.log1p((SPAN - 1.0) * min(1.0, max(0.0, share)))
        whole = math.log(SPAN)
        # expm1 is exact where the exponent is next to 0, and its quotient tends to the logarithmic curve.
        risen = time / whole if exponent == 0 else math.expm1(exponent * time) / math.expm1(exponent * whole)
        return round(self.first + risen * (self.last - self.first))


class LossSlopes:
    """How fast the loss falls, as powers of the step: over all steps, and over the recent ones.

    Both are slopes of least squares of log loss over log step. A step weighs the same in the first, and less the longer
    ago it is in the second: by 1 / e after a quarter of the steps so far, but no less than 100 steps. A reset of
    opacities, which raises the loss, disturbs both (as in the paper).
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(2, SUMS, dtype=torch.float64)

    def add(self, number: int, loss: float) -> None:
        """Add the loss of step `number`, counted from 1; losses that are not above 0 are left out."""
        if number <= WARM_UP or not 0 < loss < math.inf:
            return
        x, y = math.log(number), math.log(loss)
        kept = math.exp(-1.0 / max(WARM_UP, RECENT_SHARE * number))
        self.sums *= self.sums.new_tensor([[1.0], [kept]])
        self.sums += self.sums.new_tensor([1.0, x, y, x * x, x * y])

    def change(self) -> float:
        """Return the change of a budget's exponent, ½·tanh(recent − whole); 0 during the first `WARM_UP` losses."""
        if float(self.sums[0, 0]) < WARM_UP:
            return 0.0
        whole, recent = (_falling(each) for each in self.sums)
        return SWING * math.tanh(recent - whole)


def _falling(sums: Float[Tensor, " 5"]) -> float:
    """The exponent s of the fit loss ∝ step⁻ˢ."""
    weight, x, y, xx, xy = sums.tolist()
    spread = xx - x * x / weight
    return -(xy - x * y / weight) / spread if spread > 1e-9 * weight else 0.0
