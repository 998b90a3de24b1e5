"""Which views are held out."""

from __future__ import annotations

from collections.abc import Sequence

from splatlearn.captures.capture import Split
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole

EVERY = 8
"""The field's convention (Mip-NeRF 360)."""
FEWEST = 3
"""Captures of fewer views hold out none."""


def splits_of(names: Sequence[str], stated: Sequence[Split | None], every: int | None) -> list[Split]:
    """Return the split of each view.

    - `names`: in their order; `stated`: what the capture's files say, None where they say nothing.
    - `every`: the first of each `every` views is held out; 0 holds out none. None keeps the capture's own split, and
      takes every eighth if it has none.

    Raises InputError for a number below 0, or 1, which would hold out all.
    """
    if every is not None:
        check_whole("hold_out", every, 0)
        if every == 1:
            raise InputError(
                "hold_out: expected 0 (none) or a number of at least 2, got 1, which leaves no view to fit"
            )
    own = any(split in ("val", "test") for split in stated)
    if every is None and own:
        # A capture that names no test views is judged on those for validation.
        judged: Split = "test" if "test" in stated else "val"
        made: list[Split] = [split or "train" for split in stated]
        return ["test" if split == judged else split for split in made]
    step = EVERY if every is None else every
    if not step or len(names) < FEWEST:
        return ["train"] * len(names)
    return ["train" if index % step else "test" for index in range(len(names))]
