"""Random motions of splat sets, which turn rotations and harmonics along with the centres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number
from splatlearn.data.splat_sets.choices import Turn


@dataclass(frozen=True)
class SplatAugmentation:
    """Random similarities of placed splat sets.

    - `turn`: which rotations are drawn.
    - `scale`: smallest and largest factor of the whole set; its logarithm is uniform.
    - `shift`: largest distance along each axis, in radii of the set.

    All of a set moves by one similarity: centres, scales, quaternions and harmonics agree afterwards, as the published
    augmentation (factors for each axis, rotations left alone) does not let them. Raises InputError for numbers out of
    range.
    """

    turn: Turn = "none"
    scale: tuple[float, float] = (2 / 3, 3 / 2)
    shift: float = 0.2

    def __post_init__(self) -> None:
        if self.turn not in get_args(Turn):
            raise InputError(f"turn: expected one of {', '.join(get_args(Turn))}, got {self.turn!r}")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise InputError(f"scale: expected 0 < smallest ≤ largest, got {self.scale}")
        check_number("shift", self.shift, least=0)

    def __call__(self, gaussians: Gaussians, rng: np.random.Generator) -> Gaussians:
        """Move a set; four numbers for the rotation, one for the scale and three for the shift are always drawn."""
        turned, scaled, shifted = rng.normal(size=4), rng.random(), rng.uniform(-1.0, 1.0, size=3)
        low, high = math.log(self.scale[0]), math.log(self.scale[1])
        return gaussians.transformed(
            self._rotation(turned), torch.from_numpy(shifted * self.shift), math.exp(low + scaled * (high - low))
        )

    def _rotation(self, numbers: np.ndarray) -> torch.Tensor | None:
        if self.turn == "none":
            return None
        if self.turn == "up":
            # Two normal numbers have a uniform angle, of which a quaternion holds the half.
            half = math.atan2(numbers[1], numbers[0]) / 2.0
            return torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0], dtype=torch.float64)
        return torch.from_numpy(numbers)


STILL = SplatAugmentation("none", (1.0, 1.0), 0.0)
"""The augmentation that changes nothing."""
