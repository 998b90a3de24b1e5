"""Cameras around a scene, for scenes that come without any."""

from __future__ import annotations

from collections.abc import Sequence

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import middle_and_radius, orbit
from splatlearn.core.gaussians import Gaussians

CAMERAS = 12
HEIGHT, WIDTH = 300, 400
NEAR = 0.6
"""Radius of the nearer circle, in radii of the scene's own."""


def surrounding_cameras(
    gaussians: Gaussians, count: int = CAMERAS, up: Sequence[float] = (0.0, -1.0, 0.0)
) -> list[Camera]:
    """Return cameras on two circles around the Gaussians [K], every other one nearer than the whole scene fits.

    `up`: the direction that is up.
    """
    middle, radius = middle_and_radius(gaussians.means, gaussians.opacities)
    far = orbit(middle, radius, count, HEIGHT, WIDTH, up)
    near = orbit(middle, NEAR * radius, count, HEIGHT, WIDTH, up)
    return [near[place] if place % 2 else far[place] for place in range(count)]
