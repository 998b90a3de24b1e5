"""Lens models: how directions in front of a camera become pixels, in COLMAP's convention.

A model is a chart, which lays directions out on a plane, followed by a distortion of that plane:

- `Perspective`: (x / z, y / z), for directions in front of the camera.
- `Equidistant`: the angle to the axis, in radians, along (x, y). It reaches behind the camera.

Each model is one class, listed in `registry.py`. Arrays are float64; the
distortions also take complex numbers, from which `inverse.py` reads exact derivatives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Numbers = NDArray[np.inexact]
"""Real or complex coordinates."""
Plane = tuple[Numbers, Numbers]
"""Coordinates u (right) and v (down) of the chart, any equal shapes."""


class LensModel(ABC):
    """A camera model of COLMAP.

    - `name`, `number`: what COLMAP's text and binary files call it.
    - `parameters`: names of the parameters in COLMAP's order.
    - `general`: the model with two focal lengths that takes this one's place if pixels are not square, and the names of
      its further parameters in the order of ours; None if this model has two focal lengths itself.
    - `angles`: the directions, in radians from the axis, that the chart can show at most.
    - `zeros_are_identity`: whether the chart is not distorted if all further parameters are 0.
    """

    name: ClassVar[str]
    number: ClassVar[int]
    parameters: ClassVar[tuple[str, ...]]
    general: ClassVar[str | None] = None
    angles: ClassVar[float]
    zeros_are_identity: ClassVar[bool] = True

    @abstractmethod
    def flatten(self, x: Array, y: Array, z: Array) -> Plane:
        """Lay points of the camera's space on the chart; NaN where the chart cannot show them."""

    @abstractmethod
    def lift(self, u: Array, v: Array) -> Array:
        """Return the unit directions [..., 3] of points of the chart."""

    @abstractmethod
    def radius(self, angle: Array) -> Array:
        """Return how far from the centre of the chart directions lie, given their angle to the axis in radians."""

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        """Distort the chart. `further` are the parameters that follow the focal lengths and the principal point."""
        return u, v

    @property
    def focal_lengths(self) -> int:
        """Return 1 if one focal length serves both axes, otherwise 2."""
        return 1 if self.parameters[0] == "f" else 2


class Perspective(LensModel):
    """The chart of pinhole cameras."""

    angles = np.pi / 2

    def flatten(self, x: Array, y: Array, z: Array) -> Plane:
        depth = np.where(z > 0, z, np.nan)
        return x / depth, y / depth

    def lift(self, u: Array, v: Array) -> Array:
        rays = np.stack([u, v, np.ones_like(u)], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def radius(self, angle: Array) -> Array:
        return np.tan(angle)


class Equidistant(LensModel):
    """The chart of fisheyes."""

    angles = np.pi

    def flatten(self, x: Array, y: Array, z: Array) -> Plane:
        across = np.hypot(x, y)
        angle = np.arctan2(across, z)
        # On the axis the ratio of angle and distance is that of small angles.
        ratio = np.divide(angle, across, out=1 / np.where(z > 0, z, np.nan), where=across > 0)
        return x * ratio, y * ratio

    def lift(self, u: Array, v: Array) -> Array:
        angle = np.hypot(u, v)
        ratio = np.sinc(angle / np.pi)
        return np.stack([u * ratio, v * ratio, np.cos(angle)], axis=-1)

    def radius(self, angle: Array) -> Array:
        return angle
