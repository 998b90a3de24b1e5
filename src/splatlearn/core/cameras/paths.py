"""Cameras that look at a scene from outside: one, or a path around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.camera import Camera
from splatlearn.core.numbers import check_number, check_whole

INNER = 0.9
"""The share of Gaussians, nearest to the median, that the radius of a scene holds."""
SOLID = 0.1
"""Opacity from which on a Gaussian counts for the middle and the radius."""
AWAY = 2.5
"""Radii between the eye and the middle of the scene."""
RAISED = 0.35
"""How far down the line of sight points, of its horizontal length."""
FIELD_OF_VIEW = 40.0
"""Vertical angle of view, degrees."""


def middle_and_radius(means: Float[Tensor, "K 3"], opacities: Float[Tensor, " K"]) -> tuple[Float[Tensor, " 3"], float]:
    """Return the median of Gaussians' means [3], float64, and the distance from it within which most of them lie."""
    opacities, means = opacities.detach().cpu(), means.detach().double().cpu()
    solid = means[opacities >= min(SOLID, float(opacities.max()))]
    middle = solid.median(dim=0).values
    distances = (solid - middle).norm(dim=1)
    radius = float(distances.kthvalue(max(1, math.ceil(INNER * len(distances)))).values)
    return middle, max(radius, 1e-6)


def outside_view(
    middle: Float[Tensor, " 3"], radius: float, up: Sequence[float], turn: float = 0.0
) -> Float[Tensor, "4 4"]:
    """Return the view matrix, float64, of an eye outside of a scene and a little above that looks at its middle.

    - `up`: a direction of any length but zero; `turn`: radians about it.
    """
    vertical = torch.nn.functional.normalize(torch.as_tensor(up, dtype=torch.float64), dim=0)
    side = torch.eye(3, dtype=torch.float64)[int(vertical.abs().argmin())]
    level = torch.nn.functional.normalize(torch.linalg.cross(vertical, side), dim=0)
    level = math.cos(turn) * level + math.sin(turn) * torch.linalg.cross(vertical, level)
    forward = torch.nn.functional.normalize(level - RAISED * vertical, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, vertical), dim=0)
    view = torch.eye(4, dtype=torch.float64)
    view[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward])
    view[:3, 3] = -view[:3, :3] @ (middle - AWAY * radius * forward)
    return view


def orbit(
    middle: Float[Tensor, " 3"],
    radius: float,
    frames: int,
    height: int,
    width: int,
    up: Sequence[float] = (0.0, -1.0, 0.0),
    field_of_view: float = FIELD_OF_VIEW,
) -> list[Camera]:
    """Return pinhole cameras on a circle around a scene, in equal steps; the last is a step before the first.

    - `middle`, `radius`: of the scene, as of `middle_and_radius`; `up`: the axis of the circle.
    - `frames`: the number of cameras; `height`, `width`: of their pictures.
    - `field_of_view`: vertical angle, degrees.

    Raises InputError for numbers out of range.
    """
    check_whole("frames", frames, 1)
    check_number("radius", radius, above=0)
    check_number("field_of_view", field_of_view, above=0, below=180)
    turns = (2 * math.pi * frame / frames for frame in range(frames))
    views = [outside_view(middle, radius, up, turn).float() for turn in turns]
    return [Camera.pinhole(height, width, field_of_view, view) for view in views]
