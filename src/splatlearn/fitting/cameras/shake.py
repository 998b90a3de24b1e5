"""Motion of the camera during each exposure, fitted along with the scene.

Letters in shapes: N photographs, P knots, V views of a step, n instants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.rotations import rotation_vectors
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.cameras.trajectories import KNOTS, Kind, Trajectory, exposed
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows

ROTATION, TRANSLATION = "rotation", "translation"
"""Names of the parameters: knots [N, P, 3], before their mean is removed."""


@dataclass(frozen=True)
class ShakeOptions:
    """How exposures are modelled.

    - `kind`: of the trajectories; `exposures`: n, the instants that are rendered. 1: no motion.
    - `linear_light`: average amounts of light, as a sensor does.
    - `rotation`, `translation`: first rates of knots, radians and extents of the scene; they fall to a hundredth.
    - `start`: the standard deviation of the first knots, radians and extents. It is above 0: without a motion, one
      forwards and one backwards are the same, and there is no gradient.

    Raises InputError for numbers out of range.
    """

    kind: Kind = "linear"
    exposures: int = 5
    linear_light: bool = True
    rotation: float = 1e-3
    translation: float = 1e-3
    start: float = 1e-3

    def __post_init__(self) -> None:
        check_whole("exposures", self.exposures, 1)
        check_number("start", self.start, above=0)


class Shake(ViewModel):
    """A trajectory of each camera during its exposure, whose middle is the camera's own pose.

    - `count`: N, the number of photographs; `extent`: of the scene, world units, by which translations are multiplied.
    - `options`: see `ShakeOptions`; `seed`: of the first knots.

    The mean of the knots is removed, so that a trajectory does not move the pose, which is that of the file or of
    `PoseDeltas`. Which end of a trajectory came first cannot be seen in a photograph. With one exposure nothing moves,
    and a fit is that without the model, to the bit. Scenes are sharp as they are rendered from a single pose.
    """

    name: ClassVar[str] = "shake"

    def __init__(self, count: int, extent: float = 1.0, options: ShakeOptions | None = None, seed: int = 0) -> None:
        self.options = options = options or ShakeOptions()
        knots = KNOTS[options.kind]
        if count < 1:
            raise InputError(f"count: expected at least one photograph, got {count}")
        first = options.start * Draws(seed).normals(Draw.SHAKE, (count, 2, knots, 3), torch.zeros(1))
        shift = options.translation * extent
        super().__init__(
            ViewRows(
                {ROTATION: first[:, 0], TRANSLATION: extent * first[:, 1]},
                {
                    ROTATION: Rate(options.rotation, options.rotation / 100),
                    TRANSLATION: Rate(shift, shift / 100),
                },
            )
        )

    def trajectory(self, ids: Int64[Tensor, " V"]) -> Trajectory:
        """Return the trajectories of some photographs, with gradients to their knots."""
        knots = (self.rows.of(name, ids) for name in (ROTATION, TRANSLATION))
        rotation, translation = (each - each.mean(dim=-2, keepdim=True) for each in knots)
        return Trajectory(rotation, translation, self.options.kind)

    def cameras(self, seen: SeenViews, cameras: Camera) -> Camera:
        """Return the cameras of n instants in place of each."""
        n = self.options.exposures
        if n == 1:
            return cameras
        motions = self.trajectory(seen.ids).poses(n).to(cameras.viewmats)
        spread = cameras.map(lambda each: each.repeat_interleave(n, 0))
        return replace(spread, viewmats=(motions @ cameras.viewmats[:, None]).flatten(0, 1))

    def picture(self, seen: SeenViews, color: Float[Tensor, "W C H W2"]) -> Float[Tensor, "V C H W2"]:
        """Return the mean of the pictures of the n instants of each view."""
        return exposed(color, self.options.exposures, self.options.linear_light)

    def lengths(self) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """How far each camera turned and moved between the ends of its exposure: degrees, and world units."""
        with torch.no_grad():
            ends = self.trajectory(torch.arange(self.count)).motions(self.rows[ROTATION].new_tensor((0.0, 1.0)))
            turn = ends[:, 1, :3, :3] @ ends[:, 0, :3, :3].mT
            degrees = torch.rad2deg(rotation_vectors(turn).norm(dim=-1))
            return degrees, (ends[:, 1, :3, 3] - ends[:, 0, :3, 3]).norm(dim=-1)
