"""Numbers: checks whose messages name the argument, what was expected and what came; series of them."""

from __future__ import annotations

import math
from numbers import Integral, Real

from splatlearn.core.errors import InputError
from splatlearn.core.typed import shown


def check_whole(name: str, value: object, least: int | None = None, most: int | None = None) -> None:
    """Raise InputError unless `value` is a whole number from `least` to `most`, as far as these are given."""
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if whole is None or (least is not None and whole < least) or (most is not None and whole > most):
        raise InputError(f"{name}: expected a whole number{_range(least, most)}, got {shown(value)}")


def check_number(
    name: str,
    value: object,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raise InputError unless `value` is a finite number in the range, as far as its ends are given.

    `least` and `most` belong to the range; `above` and `below` do not.
    """
    number = _float(value)
    fits = math.isfinite(number) and (least is None or number >= least) and (most is None or number <= most)
    if not fits or (above is not None and number <= above) or (below is not None and number >= below):
        raise InputError(f"{name}: expected a finite number{_range(least, most, above, below)}, got {shown(value)}")


def _float(value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _range(least: float | None, most: float | None, above: float | None = None, below: float | None = None) -> str:
    """The range in words, such as " above 0 and at most 1"."""
    ends = {"of at least": least, "above": above, "at most": most, "below": below}
    exact = {word: end if isinstance(end, int) else f"{end:g}" for word, end in ends.items() if end is not None}
    words = " and ".join(f"{word} {end}" for word, end in exact.items())
    return f" {words}" if words else ""


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return at most `count` different indices of a sequence, at equal distances from the first to the last."""
    count = min(count, length)
    if count < 2:
        return [0] * count
    step = (length - 1) / (count - 1)
    return [*(round(index * step) for index in range(count - 1)), length - 1]


def half_cosine(done: float, total: float) -> float:
    """Return half a cosine, which falls from 1 to 0 as `done` goes from 0 to `total`."""
    return 0.5 * (1 + math.cos(math.pi * done / total))
