"""Options of a reconstruction: what each photograph has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.runs.recipe import check_choices, check_range

Poses = Literal["given", "refined"]
Exposure = Literal["none", "affine", "grid"]


@dataclass(frozen=True)
class ViewOptions:
    """What each photograph has of its own."""

    poses: Poses = "given"
    """given: cameras stay where the capture has them. refined: their poses are fitted along with the scene, held-out
    photographs are localised in it before they are scored, and the cameras are written into the run as
    transforms.json."""
    pose_rate: float = 1e-3
    """First learning rate of refined poses, in radians and in extents of the scene; it falls to a hundredth."""
    exposure: Exposure = "none"
    """Colours of each photograph. none: all photographs show the scene's own. affine: an affine map of colours for
    each, for exposure and white balance that change. grid: a bilateral grid of such maps, for vignettes and tone curves
    of phones. The scene is what is left without them. Held-out photographs are also scored after an alignment of their
    colours."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_choices(poses=(self.poses, Poses), exposure=(self.exposure, Exposure))
        check_range("a number above 0", lambda value: value > 0, pose_rate=self.pose_rate)
