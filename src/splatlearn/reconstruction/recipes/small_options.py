"""Options of a reconstruction: what makes the file of its scene small."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.runs.recipe import check_range


@dataclass(frozen=True)
class SmallOptions:
    """What makes the file of the scene small; --target-size writes it."""

    mask: float = 0.0
    """Weight of the learnable mask of Compact 3DGS, by which Gaussians that photographs hardly need switch themselves
    off. Published: 5e-4 for photographs, 4e-3 for synthetic objects. 0: no mask."""
    rounding: float = 0.0
    """Coarseness of the steps to which all numbers are rounded in the last half of the steps, as a small file will
    round them. 1: the usual steps of .sl3. 0: none."""
    grid: float = 0.0
    """Weight of differences of rotations and opacities between neighbours on a grid onto which Gaussians are sorted
    (Self-Organizing Gaussians). Published: 1. 0: no grid."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range("a number ≥ 0", lambda value: value >= 0, mask=self.mask, rounding=self.rounding, grid=self.grid)
