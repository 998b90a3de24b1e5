"""The weight of a loss term as a function of the step."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole


@dataclass(frozen=True)
class Weight:
    """A weight that begins at a step, and changes geometrically to a last value.

    - `first`: in step `begin`, counted from 1; it is 0 before.
    - `last`: in step `end` and later; None: `first` throughout.

    Raises InputError for numbers out of range, and where `end` does not follow `begin`.
    """

    first: float
    last: float | None = None
    begin: int = 1
    end: int | None = None

    def __post_init__(self) -> None:
        check_whole("begin", self.begin, 1)
        if self.last is None:
            check_number("first", self.first, least=0)
            return
        check_number("first", self.first, above=0)
        check_number("last", self.last, above=0)
        if self.end is None or self.end <= self.begin:
            raise InputError(
                f"end: expected a step after {self.begin}, where the weight is {self.last}, got {self.end}"
            )

    def at(self, number: int) -> float:
        """The weight in step `number`, counted from 1."""
        if number < self.begin:
            return 0.0
        if self.last is None or self.end is None:
            return self.first
        share = min(1.0, (number - self.begin) / (self.end - self.begin))
        return self.first ** (1.0 - share) * self.last**share
