"""Quantisation in the loop: a fit whose Gaussians are drawn as a file with coarse steps will hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.compaction.shaping import Shaping

POSITION, OCTAVE, ROTATION, OPACITY, COLOR, HARMONICS = 0.15, 1 / 12, 1 / 160, 1 / 80, 0.02, 0.03
"""Steps of .sl3 at a coarseness of 1: of the median scale, octaves, numbers of a quaternion, opacity, coefficients."""
DEAD = 0.6
"""Harmonics above degree 0 below this share of a step become 0, as in .sl3."""


class Rounding(Shaping):
    """Rounds all numbers to steps, with the derivatives of what was not rounded (straight through).

    - `coarseness`: factor of the steps, which are those that .sl3 takes where nothing is known of pictures. A file is
      then rounded in its own way, but the scene has learned to do without what steps leave out.
    - `begin`: the first step that rounds; before, scenes have to find their places.
    """

    def __init__(self, coarseness: float, begin: int = 1) -> None:
        check_number("coarseness", coarseness, above=0)
        check_whole("begin", begin, 1)
        self.coarseness, self.begin = coarseness, begin

    def of(self, gaussians: Gaussians, own: Mapping[str, Tensor], number: int) -> Gaussians:
        """Return the Gaussians of which all numbers are multiples of steps."""
        if number < self.begin or not gaussians.count:
            return gaussians
        usual = gaussians.scales.detach().clamp_min(torch.finfo(gaussians.scales.dtype).tiny).log().median().exp()
        octaves = gaussians.scales.clamp_min(torch.finfo(gaussians.scales.dtype).tiny).log2()
        rotations = torch.nn.functional.normalize(gaussians.quaternions, dim=-1)
        changes: dict[str, Tensor] = {
            "means": self._rounded(gaussians.means, POSITION * usual),
            "scales": torch.exp2(self._rounded(octaves, OCTAVE)),
            "quaternions": self._rounded(rotations, ROTATION),
            "opacities": self._rounded(gaussians.opacities, OPACITY).clamp(0, 1),
        }
        if gaussians.sh is not None:
            first, rest = gaussians.sh[:, :1], gaussians.sh[:, 1:]
            changes["sh"] = torch.cat([self._rounded(first, COLOR), self._rounded(rest, HARMONICS, DEAD)], dim=1)
        if gaussians.colors is not None:
            # A colour is a coefficient of degree 0 times the constant of that harmonic, and a half.
            changes["colors"] = self._rounded(gaussians.colors, COLOR / math.sqrt(4 * math.pi))
        return replace(gaussians, **changes)

    def _rounded(self, values: Tensor, step: float | Tensor, dead: float = 0.0) -> Tensor:
        """The nearest multiples, and 0 for what is below a share of a step."""
        with torch.no_grad():
            shares = values / (self.coarseness * step)
            moved = torch.where(shares.abs() < dead, 0.0, shares.round()) * (self.coarseness * step) - values
        return values + moved
