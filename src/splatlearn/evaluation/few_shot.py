"""Few labels: draws of some images of each class, the same for every model."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.data.randomness import Purpose, generator

SHOTS = (1, 5, 10)

Budget = int | float
"""Images of each class as a whole number, or a share of them in (0, 1)."""


def few_shot_draw(
    labels: Int64[Tensor, " N"], classes: tuple[str, ...], budget: Budget, draw: int, seed: int = 0
) -> Int64[Tensor, " K"]:
    """Positions of the images of one draw, sorted.

    - `budget`: images of each class as a whole number, or the share of each class (at least one image).
    - `draw`: 0, 1, ...; the images depend on (seed, draw, labels) alone, and larger budgets hold smaller ones.

    Raises InputError for a budget that is not positive and for more images than a class has.
    """
    is_count = isinstance(budget, int)
    if budget <= 0 or (not is_count and budget >= 1):
        raise InputError(f"budget: expected a positive number of images or a share in (0, 1), got {budget}")
    chosen: list[np.ndarray] = []
    for place, name in enumerate(classes):
        members = np.flatnonzero(labels.numpy() == place)
        wanted = int(budget) if is_count else max(1, round(budget * len(members)))
        if wanted > len(members):
            raise InputError(
                f"shots: expected at most as many images as the smallest class has, got {wanted} of each class where "
                f"{name!r} has {len(members)}; ask for fewer"
            )
        # Draws start at 1 because 0 is the order that splits off validation images.
        order = generator(seed, draw + 1, place, Purpose.SPLIT).permutation(len(members))
        chosen.append(members[order[:wanted]])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def budget_name(budget: Budget) -> str:
    """What reports call a budget."""
    return f"{budget} per class" if isinstance(budget, int) else f"{budget:.0%}"


def possible_shots(labels: Int64[Tensor, " N"], classes: tuple[str, ...]) -> tuple[int, ...]:
    """The usual numbers of images of each class, as far as there are as many."""
    smallest = int(torch.bincount(labels, minlength=len(classes)).min())
    return tuple(shots for shots in SHOTS if shots <= smallest)
