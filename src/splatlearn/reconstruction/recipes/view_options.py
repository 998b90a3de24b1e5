"""Options of a reconstruction: pose, motion, focus and colours of single photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splatlearn.runs.recipe import check_choices, check_range

Poses = Literal["given", "refined"]
Exposure = Literal["none", "affine", "grid"]
Motion = Literal["none", "linear", "spline", "bezier"]
DefocusBy = Literal["lens", "gaussians"]


@dataclass(frozen=True)
class ViewOptions:
    """Pose, motion, focus and colours of single photographs."""

    poses: Poses = "given"
    """given: cameras stay where the capture has them. refined: their poses are fitted along with the scene, held-out
    photographs are localised in it before they are scored, and the cameras are written into the run as
    transforms.json."""
    pose_rate: float = 1e-3
    """First learning rate of refined poses, in radians and in extents of the scene; it falls to a hundredth."""
    shake: Motion = "none"
    """The way of the camera during each exposure, fitted along with the scene if photographs are blurred by it: linear
    (from one pose to another), spline (cubic B-spline) or bezier (of degree 3)."""
    exposures: int = 5
    """Number of instants of an exposure that are rendered with --shake; as many pictures are rendered in each step. For
    n pixels by which photographs are smeared, n are enough. 1: no motion."""
    defocus: bool = False
    """Fit how each photograph is out of focus; see --defocus-by."""
    defocus_by: DefocusBy = "lens"
    """With --defocus: lens (how large the blur of each photograph is, and at which depth it is sharp: two numbers
    each), or gaussians (a width of each Gaussian, and a factor of each photograph, whatever the lens)."""
    exposure: Exposure = "none"
    """Colours of each photograph. none: all photographs show the scene's own. affine: an affine map of colours for
    each, for exposure and white balance that change. grid: a bilateral grid of such maps, for vignettes and tone curves
    of phones. The scene is what is left without them. Held-out photographs are also scored after an alignment of their
    colours."""

    def in_use(self) -> list[str]:
        """The options by which photographs have something of their own, with their values."""
        found = [f"poses {self.poses}"] if self.poses != "given" else []
        found += [f"shake {self.shake}"] if self.shake != "none" and self.exposures > 1 else []
        found += ["defocus"] if self.defocus else []
        return found + ([f"exposure {self.exposure}"] if self.exposure != "none" else [])

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_choices(
            poses=(self.poses, Poses),
            shake=(self.shake, Motion),
            exposure=(self.exposure, Exposure),
            defocus_by=(self.defocus_by, DefocusBy),
        )
        check_range("a number above 0", lambda value: value > 0, pose_rate=self.pose_rate, exposures=self.exposures)
