"""Trajectories of a camera while its shutter is open, and the picture of such an exposure.

Letters in shapes: P knots, n instants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.rotations import rotation_vectors, rotations_of
from splatlearn.core.numbers import check_whole
from splatlearn.fitting.cameras.light import from_light, to_light
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

Kind = Literal["linear", "spline", "bezier"]
Rule = Literal["midpoint", "endpoints"]
KNOTS: dict[Kind, int] = {"linear": 2, "spline": 4, "bezier": 4}
"""Numbers of knots; a Bézier curve may have any from 2 on."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The motions of a camera during an exposure, which follow the one of its pose; see `rigid_motions`.

    - `rotation`, `translation` [*V, P, 3]: of the knots, in the camera's axes, radians and world units.
    - `kind`: "linear", between two knots: translations are interpolated linearly, rotations along the geodesic of
      SO(3). "spline", a uniform cubic B-spline of four knots, cumulative on SO(3): it passes by its knots, and goes on
      into the next four with continuous second derivatives. "bezier", a curve of degree P − 1, of rotation vectors.

    Raises InputError for shapes that do not fit.
    """

    rotation: Float[Tensor, "*V P 3"]
    translation: Float[Tensor, "*V P 3"]
    kind: Kind = "linear"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"kind: expected one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.rotation.shape != self.translation.shape:
            shapes = f"{list(self.rotation.shape)} and {list(self.translation.shape)}"
            raise InputError(f"rotation, translation: expected the same shape, got {shapes}")
        count, wanted = self.rotation.shape[-2], KNOTS[self.kind]
        if count != wanted and (self.kind != "bezier" or count < 2):
            raise InputError(f"rotation: expected {wanted} knots of a {self.kind} trajectory, got {count}")

    @classmethod
    def between(cls, start: Float[Tensor, "*V 4 4"], end: Float[Tensor, "*V 4 4"]) -> Trajectory:
        """The linear trajectory from one pose to another; its motions are poses, for a camera at the origin."""
        both = torch.stack([start, end], dim=-3)
        return cls(rotation_vectors(both[..., :3, :3]), both[..., :3, 3])

    def motions(self, times: Float[Tensor, " n"]) -> Float[Tensor, "*V n 4 4"]:
        """Return the rigid motions at times from 0, when the shutter opens, to 1, with gradients to the knots."""
        weights = _basis(self.kind, times, self.rotation.shape[-2])
        shifts = weights @ self.translation
        if self.kind == "bezier":
            turns = rotations_of(weights @ self.rotation)
        else:
            turns = _along(rotations_of(self.rotation), weights)
        top = torch.cat([turns, shifts.unsqueeze(-1)], dim=-1)
        last = top.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(*top.shape[:-2], 1, 4)
        return torch.cat([top, last], dim=-2)

    def poses(self, n: int, rule: Rule = "midpoint") -> Float[Tensor, "*V n 4 4"]:
        """Return the motions at n instants.

        - `rule`: "midpoint", the middles of n equal spans of time, whose mean picture errs by O(1/n²); "endpoints", n
          times from 0 to 1 with both, as BAD-Gaussians has them: the ends count twice what they should.
        """
        return self.motions(instants(n, rule).to(self.rotation))


def instants(n: int, rule: Rule = "midpoint") -> Float[Tensor, " n"]:
    """Return n times in [0, 1], float64; see `Trajectory.poses`."""
    check_whole("n", n, 1)
    if rule == "midpoint":
        return (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if rule == "endpoints":
        return torch.linspace(0, 1, n, dtype=torch.float64) if n > 1 else torch.tensor([0.5], dtype=torch.float64)
    raise InputError(f"rule: expected one of {', '.join(get_args(Rule))}, got {rule!r}")


def expose(
    gaussians: Gaussians,
    trajectory: Trajectory,
    camera: Camera,
    n: int,
    *,
    rule: Rule = "midpoint",
    linear_light: bool = True,
    background: Background = "black",
    filter: str = "point",
) -> Float[Tensor, "C H W"]:
    """Render the photograph of a moving camera: the mean of n sharp pictures.

    - `trajectory`: of one camera; `camera`: its pose before the motion.
    - `n`: number of instants; one for each pixel by which the picture moves suffices for details of a pixel. For n = 1
      the picture is the one in the middle of the exposure.
    - `linear_light`: average amounts of light, as a sensor does; otherwise display colours.
    - `background`, `filter`: see `render`.

    Source: BAD-Gaussians (arXiv 2403.11831), equation 6, with mid-points and in linear light.
    """
    motions = trajectory.poses(n, rule)
    if motions.ndim != 3 or camera.batch_shape:
        raise InputError("trajectory, camera: expected those of one camera, got a batch")
    viewmats = motions.to(camera.viewmats) @ camera.viewmats
    cameras = replace(camera, viewmats=viewmats[0] if n == 1 else viewmats)
    color = render(gaussians, cameras, background, depth=False, check=False, filter=filter).color
    if n == 1:
        return color
    return exposed(color, n, linear_light)[0]


def exposed(color: Float[Tensor, "W C H W2"], n: int, linear_light: bool = True) -> Float[Tensor, "V C H W2"]:
    """Return the mean of each n pictures that stand side by side."""
    if n == 1:
        return color
    if not linear_light:
        return color.unflatten(0, (-1, n)).mean(1)
    return from_light(to_light(color).unflatten(0, (-1, n)).mean(1))


def _basis(kind: Kind, times: Tensor, count: int) -> Float[Tensor, "n P"]:
    """The weights of knots at times, which sum to 1."""
    u = times
    if kind == "linear":
        return torch.stack([1 - u, u], dim=-1)
    if kind == "spline":
        rows = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3
        return torch.stack(rows, dim=-1) / 6
    degree = count - 1
    return torch.stack([math.comb(degree, i) * u**i * (1 - u) ** (degree - i) for i in range(count)], dim=-1)


def _along(turns: Float[Tensor, "*V P 3 3"], weights: Float[Tensor, "n P"]) -> Float[Tensor, "*V n 3 3"]:
    """Rotations between those of knots, by cumulative weights: R₀ Π exp(b̃ᵢ log(Rᵢ₋₁ᵀ Rᵢ))."""
    cumulative = weights.flip(-1).cumsum(-1).flip(-1)
    steps = rotation_vectors(turns[..., :-1, :, :].mT @ turns[..., 1:, :, :])
    made = turns[..., :1, :, :]
    for index in range(steps.shape[-2]):
        part = cumulative[:, index + 1, None] * steps[..., index, None, :]
        made = made @ rotations_of(part)
    return made
