"""The inverse of a lens's distortion: how far it can be inverted, and Newton's method within that distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from splatlearn.captures.lenses.models import Array, LensModel, Numbers, Plane

Distort = Callable[[Numbers, Numbers], Plane]

STEPS = 30
"""Largest number of steps of Newton's method; from a start that the table gives, a few suffice."""
TOLERANCE = 1e-12
"""Largest distance that is left, in units of the chart, relative to 1 + the radius."""
ANGLES = 3000
"""Directions of the table from the axis outwards."""
AROUND = 16
"""Directions of the table around the axis."""
LARGEST_ANGLE = 0.9999
"""Share of the chart's largest angle that the table covers; a pinhole has no pixels for 90 degrees itself."""


@dataclass(frozen=True)
class Reach:
    """Distorted radii of a chart, up to the angle to the axis at which they stop growing in any direction.

    - `angle`: where growth ends, in radians from the axis. Beyond it a polynomial folds the picture back over itself.
    - `radius`: that angle as a radius of the chart.
    - `undistorted`, `distorted`: radii [n], the latter as the mean over directions.
    """

    angle: float
    radius: float
    undistorted: Array
    distorted: Array


def measure_reach(model: LensModel, distort: Distort) -> Reach:
    """Tabulate the radii of a distortion from the axis to where it stops growing."""
    angles = np.linspace(0, model.angles * LARGEST_ANGLE, ANGLES)
    around = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)[:, None]
    across, down = np.cos(around), np.sin(around)
    radii = model.radius(angles)
    with np.errstate(all="ignore"):
        u, v = distort(radii * across, radii * down)
        along = np.real(u) * across + np.real(v) * down
        grows = (np.diff(along, axis=1) > 0).all(axis=0)
    last = int(np.argmin(grows)) if not grows.all() else ANGLES - 1
    return Reach(float(angles[last]), float(radii[last]), radii[: last + 1], along.mean(axis=0)[: last + 1])


def undistort(distort: Distort, reach: Reach, u: Array, v: Array) -> tuple[Array, Array]:
    """Return the points of the chart that are distorted to (u, v); NaN where there is none within reach."""
    wanted = np.hypot(u, v)
    ratio = np.divide(
        np.interp(wanted, reach.distorted, reach.undistorted), wanted, out=np.ones_like(wanted), where=wanted > 0
    )
    x, y = u * ratio, v * ratio
    close = TOLERANCE * (1 + wanted)
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            (left, up), (ux, vx), (uy, vy) = derivatives(distort, x, y)
            left, up = left - u, up - v
            if (np.hypot(left, up) <= close)[np.isfinite(left)].all():
                break
            area = ux * vy - uy * vx
            x, y = x - (vy * left - uy * up) / area, y - (ux * up - vx * left) / area
        left, up = distort(x, y)
        found = np.hypot(np.real(left) - u, np.real(up) - v) <= 100 * close
        found &= np.hypot(x, y) <= reach.radius * (1 + 1e-6) + 1e-9
    return np.where(found, x, np.nan), np.where(found, y, np.nan)


def derivatives(
    distort: Distort, x: Array, y: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array], tuple[Array, Array]]:
    """Return the distorted point, its derivative by x, and that by y, each as (u, v).

    The derivatives are exact to float64: a step of 1e-30 along the imaginary axis is not subtracted from anything.
    """
    step = 1e-30
    u, v = distort(x + 1j * step, y + 0j)
    by_y = distort(x + 0j, y + 1j * step)
    return (
        (np.real(u), np.real(v)),
        (np.imag(u) / step, np.imag(v) / step),
        (np.imag(by_y[0]) / step, np.imag(by_y[1]) / step),
    )
