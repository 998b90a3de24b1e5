"""Few labels: draws of some images of each class, the same for every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator

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
    chosen: list[np.ndarray] = []
    for place, wanted in enumerate(images_of(labels, classes, budget)):
        members = np.flatnonzero(labels.numpy() == place)
        # Draws start at 1 because 0 is the order that splits off validation images.
        order = generator(seed, draw + 1, place, Purpose.SPLIT).permutation(len(members))
        chosen.append(members[order[:wanted]])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def images_of(labels: Int64[Tensor, " N"], classes: tuple[str, ...], budget: Budget) -> tuple[int, ...]:
    """Number of images of each class in a budget. Raises InputError as `few_shot_draw` does."""
    is_count = isinstance(budget, int)
    if budget <= 0 or (not is_count and budget >= 1):
        raise InputError(f"budget: expected a positive number of images or a share in (0, 1), got {budget}")
    sizes = torch.bincount(labels, minlength=len(classes)).tolist()
    for name, size in zip(classes, sizes, strict=True):
        if is_count and budget > size:
            raise InputError(
                f"shots: expected at most the number of images of the smallest class, got {budget} of each class, but "
                f"{name!r} has {size}; choose fewer"
            )
    return tuple(int(budget) if is_count else max(1, round(budget * size)) for size in sizes)


def distinct_budgets(
    labels: Int64[Tensor, " N"], classes: tuple[str, ...], budgets: Sequence[Budget]
) -> dict[str, Budget]:
    """Budgets by what reports call them; those of as many images of every class are one, whose draws are the same.

    Raises InputError as `few_shot_draw` does.
    """
    alike: dict[tuple[int, ...], list[Budget]] = {}
    for budget in budgets:
        alike.setdefault(images_of(labels, classes, budget), []).append(budget)
    named: dict[str, Budget] = {}
    for first, *others in alike.values():
        names = list(dict.fromkeys(budget_name(other) for other in others if budget_name(other) != budget_name(first)))
        named[budget_name(first) + (f" ({', '.join(names)})" if names else "")] = first
    return named


def budget_name(budget: Budget) -> str:
    """Name of a budget in reports."""
    return f"{budget} per class" if isinstance(budget, int) else f"{100 * budget:.6g}%"


def possible_shots(labels: Int64[Tensor, " N"], classes: tuple[str, ...]) -> tuple[int, ...]:
    """The usual numbers of images of each class, as far as there are as many."""
    smallest = int(torch.bincount(labels, minlength=len(classes)).min())
    return tuple(shots for shots in SHOTS if shots <= smallest)
