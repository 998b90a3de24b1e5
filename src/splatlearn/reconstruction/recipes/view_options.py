"""Options of a reconstruction: what each photograph has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.runs.recipe import check_choices, check_range

Poses = Literal["given", "refined"]


@dataclass(frozen=True)
class ViewOptions:
    """What each photograph has of its own."""

    poses: Poses = "given"
    """given: cameras stay where the capture has them. refined: their poses are fitted along with the scene, held-out
    photographs are localised in it before they are scored, and the cameras are written into the run as
    transforms.json."""
    pose_rate: float = 1e-3
    """First learning rate of refined poses, in radians and in extents of the scene; it falls to a hundredth."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_choices(poses=(self.poses, Poses))
        check_range("a number above 0", lambda value: value > 0, pose_rate=self.pose_rate)
