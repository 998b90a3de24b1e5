"""One lens: a model of COLMAP with its parameters and the size of its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.lenses.inverse import Reach, measure_reach, undistort
from splatlearn.captures.lenses.models import Array, LensModel, Numbers, Perspective, Plane
from splatlearn.captures.lenses.registry import lens_model
from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Lens:
    """The lens and the picture size of a camera, in COLMAP's convention.

    - `model`: COLMAP's name of the camera model, such as "OPENCV"; `MODELS` lists them.
    - `width`, `height`: of the picture, in pixels. Pixel (0, 0) has its centre at (0.5, 0.5).
    - `params`: the model's parameters in COLMAP's order; focal lengths and principal point in pixels.

    Raises InputError for an unknown model, another number of parameters, numbers that are not finite, or sizes and
    focal lengths that are not positive.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        check_whole("width", self.width, 1)
        check_whole("height", self.height, 1)
        names = self.projection.parameters
        values = tuple(float(each) for each in self.params)
        object.__setattr__(self, "params", values)
        if len(values) != len(names):
            wanted = f"the {len(names)} parameters {', '.join(names)}"
            raise InputError(f"params: expected {wanted} of {self.model}, got {len(values)} numbers")
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                raise InputError(f"params: expected a finite number for {name} of {self.model}, got {value}")
            if name in ("f", "fx", "fy", "w", "h") and value <= 0:
                raise InputError(f"params: expected {name} > 0 for {self.model}, got {value}")

    @classmethod
    def pinhole(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> Lens:
        """A lens without distortion."""
        return cls("PINHOLE", width, height, (fx, fy, cx, cy))

    @property
    def projection(self) -> LensModel:
        """The registered model. Raises InputError for a name that is not registered."""
        return lens_model(self.model)

    @property
    def is_panorama(self) -> bool:
        """Whether the picture shows all directions, which no pinhole can."""
        return self.model == "EQUIRECTANGULAR"

    @property
    def is_pinhole(self) -> bool:
        """Whether the lens has no distortion, because of its model or because its coefficients are 0."""
        if not isinstance(self.projection, Perspective):
            return False
        return not any(self.further)

    @property
    def fx(self) -> float:
        """The horizontal focal length in pixels: near the axis of a panorama, pixels for a radian."""
        return self.width / (2 * math.pi) if self.is_panorama else self.params[0]

    @property
    def fy(self) -> float:
        """The vertical focal length in pixels."""
        return self.height / math.pi if self.is_panorama else self.params[self.projection.focal_lengths - 1]

    @property
    def cx(self) -> float:
        """The principal point's distance from the left edge, in pixels."""
        return self.width / 2 if self.is_panorama else self.params[self.projection.focal_lengths]

    @property
    def cy(self) -> float:
        """The principal point's distance from the upper edge, in pixels."""
        return self.height / 2 if self.is_panorama else self.params[self.projection.focal_lengths + 1]

    @property
    def further(self) -> tuple[float, ...]:
        """The parameters after the principal point: those of the distortion."""
        return () if self.is_panorama else self.params[self.projection.focal_lengths + 2 :]

    @cached_property
    def reach(self) -> Reach:
        """How far from the axis the distortion can be inverted."""
        return measure_reach(self.projection, self._distort)

    def _distort(self, u: Numbers, v: Numbers) -> Plane:
        return self.projection.distort(u, v, self.further)

    def project(self, points: NDArray[Any]) -> Array:
        """Return the pixels [..., 2] of points [..., 3] in the camera's space (x right, y down, z forward).

        Pixels may lie outside of the picture. They are NaN where the model cannot show a point, such as behind a
        pinhole. Points beyond `reach` are projected by the formula all the same; `sees` tells them apart.
        """
        rows, shape = _rows("points", points, 3)
        with np.errstate(all="ignore"):
            u, v = self._distort(*self.projection.flatten(*rows))
            pixels = np.stack([np.real(u) * self.fx + self.cx, np.real(v) * self.fy + self.cy], axis=-1)
        return pixels.reshape(*shape, 2)

    def unproject(self, pixels: NDArray[Any]) -> Array:
        """Return the unit directions [..., 3] in the camera's space that pixels [..., 2] show.

        The inverse of `project` to float64's precision. NaN where no direction within `reach` has that pixel.
        """
        (across, down), shape = _rows("pixels", pixels, 2)
        u, v = (across - self.cx) / self.fx, (down - self.cy) / self.fy
        if any(self.further) or not self.projection.zeros_are_identity:
            u, v = undistort(self._distort, self.reach, u, v)
        return self.projection.lift(u, v).reshape(*shape, 3)

    def sees(self, points: NDArray[Any]) -> Flags:
        """Return which points [..., 3] in the camera's space are in the picture.

        They are within `reach`, and their pixels lie inside of the edges.
        """
        (x, y, z), shape = _rows("points", points, 3)
        pixels = self.project(points).reshape(-1, 2)
        inside = ((pixels >= 0) & (pixels <= (self.width, self.height))).all(axis=-1)
        return (inside & (np.arctan2(np.hypot(x, y), z) <= self.reach.angle)).reshape(shape)

    def scaled(self, width: int, height: int) -> Lens:
        """Return the lens of the same picture with another number of pixels.

        Focal lengths and principal point are multiplied by the actual ratio of each axis. A model with one focal length
        becomes the one with two that has the same distortion if the ratios differ.
        """
        across, down = width / self.width, height / self.height
        model = self.projection
        if self.is_panorama:
            return Lens(self.model, width, height, (self.params[0] * across, self.params[1] * down))
        focal, further = (self.fx * across, self.fy * down), self.further
        if model.focal_lengths == 1 and across == down:
            focal = focal[:1]
        elif model.general is not None:
            model = lens_model(model.general)
            further = further + (0.0,) * (len(model.parameters) - 4 - len(further))
        return Lens(model.name, width, height, (*focal, self.cx * across, self.cy * down, *further))

    @classmethod
    def of(cls, model: str | int, width: int, height: int, params: Sequence[float]) -> Lens:
        """Return a lens whose model is given by COLMAP's name or number, as in its text and binary files."""
        return cls(lens_model(model).name, width, height, tuple(params))


def _rows(name: str, values: NDArray[Any], count: int) -> tuple[Array, tuple[int, ...]]:
    """The coordinates of points, [count, N] in float64, and the shape of the batch that they were in."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != count:
        raise InputError(f"{name}: expected shape [..., {count}], got {list(array.shape)}")
    return array.reshape(-1, count).T, array.shape[:-1]
