"""The fisheye of Kannala and Brandt (2006), as OpenCV and COLMAP (OPENCV_FISHEYE) have it.

A point at the angle θ from the axis is shown at the radius d(θ) = θ·(1 + k1·θ² + k2·θ⁴ + k3·θ⁶ + k4·θ⁸), in focal
lengths, in its direction across the axis.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from splatlearn.core.cameras.models import CameraModel, Lens, Pixels, Points, register_camera_model
from splatlearn.core.errors import InputError

WIDEST = math.radians(179.0)
"""Angle from the axis beyond which no lens shows anything: straight behind, directions have no picture."""
NEAR_AXIS = 1e-2
"""Square of the tangent of an angle below which series take the place of differences of nearly equal numbers."""
TERMS = 8
"""Terms of these series: the first that is left out is below 1e-16."""
ROUNDS = 20
"""Iterations of Newton's method, from a radius to its angle."""


@register_camera_model
class Fisheye(CameraModel):
    """Angles from the axis as radii: u = fx·d(θ)·x/r + cx, v = fy·d(θ)·y/r + cy, with r the distance from the axis.

    `Lens.distortion` has k1 to k4; none of them are those of an equidistant lens, d(θ) = θ. Depths are distances from
    the camera, since a lens may show more than a half of all directions. Directions beyond the angle at which d stops
    rising are not shown.
    """

    name = "fisheye"
    coefficients = 4
    measures_distance = True

    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        squared = x * x + y * y
        share, _ = _shares(squared, z)
        scale = share * _polynomial(share * share * squared, lens.distortion)[0]
        return lens.fx * scale * x + lens.cx, lens.fy * scale * y + lens.cy

    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        across, down = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
        radius = torch.stack([across, down], dim=-1).norm(dim=-1)
        angle = _angles(radius, lens.distortion)
        # sin θ / d(θ), which is 1 on the axis.
        on_axis = radius < torch.finfo(radius.dtype).tiny ** 0.5
        scale = depth * torch.where(on_axis, 1.0, angle.sin() / torch.where(on_axis, 1.0, radius))
        return scale * across, scale * down, depth * angle.cos()

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.stack([x, y, z], dim=-1).norm(dim=-1)

    def shows(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Tensor:
        level = torch.stack([x, y], dim=-1).norm(dim=-1)
        return torch.atan2(level, z) <= widest_angle(lens.distortion)

    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        """Return J M at the place itself; `limit` is ignored, since no derivative grows towards the picture's edge."""
        across, down, along = vectors
        squared = x * x + y * y
        share, bend = _shares(squared, z)
        factor, slope = _polynomial(share * share * squared, lens.distortion)
        distance = squared + z * z
        # With s = d/r, u = fx·s·x: its gradient is s·(1, 0, 0) + x·(x·curve, y·curve, −rise).
        scale, rise = share * factor, (factor + 2 * share * share * squared * slope) / distance
        curve = factor * bend + 2 * share * share * slope * z / distance
        moved = (x * curve).unsqueeze(-1) * across + (y * curve).unsqueeze(-1) * down - rise.unsqueeze(-1) * along
        return (
            _columns(lens.fx) * (scale.unsqueeze(-1) * across + x.unsqueeze(-1) * moved),
            _columns(lens.fy) * (scale.unsqueeze(-1) * down + y.unsqueeze(-1) * moved),
        )


def _columns(focal: float | Tensor) -> float | Tensor:
    return focal.unsqueeze(-1) if isinstance(focal, Tensor) else focal


def _polynomial(squares: Tensor, coefficients: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return d(θ)/θ for squares θ², and its derivative by these."""
    value, slope = torch.ones_like(squares), torch.zeros_like(squares)
    power = torch.ones_like(squares)
    for order, each in enumerate(coefficients, start=1):
        slope = slope + order * each * power
        power = power * squares
        value = value + each * power
    return value, slope


def _shares(squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return θ/r and (z/(r² + z²) − θ/r)/r² for squares r², both smooth across the axis ahead."""
    is_near = (z > 0) & (squared < NEAR_AXIS * z * z)
    inverse = 1.0 / torch.where(is_near, z, 1.0)
    ratio = torch.where(is_near, squared, 0.0) * inverse * inverse
    share, bend = torch.zeros_like(ratio), torch.zeros_like(ratio)
    for order in reversed(range(TERMS)):
        sign = -1.0 if order % 2 else 1.0
        share = share * ratio + sign / (2 * order + 1)
        bend = bend * ratio - sign * (2 * order + 2) / (2 * order + 3)
    # Straight behind, and at the camera itself, there is no direction: any finite one.
    far = torch.where(is_near, 1.0, squared.clamp_min(torch.finfo(squared.dtype).tiny ** 0.5))
    radius, ahead = far.sqrt(), torch.where(is_near, 1.0, z)
    wide = torch.atan2(radius, ahead) / radius
    return (
        torch.where(is_near, share * inverse, wide),
        torch.where(is_near, bend * inverse**3, (ahead / (far + ahead * ahead) - wide) / far),
    )


def _angles(radii: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return the angles whose radii these are, at most the widest, with first derivatives."""
    most = widest_angle(coefficients)
    with torch.no_grad():
        angle = radii.clamp(0.0, most)
        low, high = torch.zeros_like(angle), torch.full_like(angle, most)
        for _ in range(ROUNDS):
            factor, slope = _polynomial(angle * angle, coefficients)
            error = angle * factor - radii
            low, high = torch.where(error < 0, angle, low), torch.where(error > 0, angle, high)
            moved = angle - error / (factor + 2 * angle * angle * slope).clamp_min(1e-6)
            # Between the bounds Newton's step, else the middle of them.
            angle = torch.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
        factor, slope = _polynomial(angle * angle, coefficients)
        rise = (factor + 2 * angle * angle * slope).clamp_min(1e-6)
    return angle - (angle * factor - radii) / rise


@lru_cache(maxsize=64)
def widest_angle(coefficients: tuple[float, ...]) -> float:
    """Return the angle up to which d(θ) rises, radians, at most 179°.

    Raises InputError for coefficients with which it does not rise from the axis on to any useful angle.
    """
    # d'(θ) as a polynomial of θ²: 1 + 3 k1 θ² + 5 k2 θ⁴ + …
    slopes = [(2 * order + 1) * each for order, each in enumerate(coefficients, start=1)]
    roots = np.roots([*reversed(slopes), 1.0])
    real = roots.real[(np.abs(roots.imag) < 1e-9 * np.maximum(1.0, np.abs(roots))) & (roots.real > 0)]
    found = min(WIDEST, math.sqrt(float(real.min()))) if len(real) else WIDEST
    if found < math.radians(1.0):
        raise InputError(f"distortion: expected coefficients of a lens that shows a degree or more, got {coefficients}")
    return found


def focal_length(size: float, field_of_view: float, coefficients: tuple[float, ...]) -> float:
    """Return the focal length with which a picture of `size` pixels shows an angle, in degrees."""
    half = math.radians(field_of_view) / 2
    widest = widest_angle(coefficients)
    if not 0 < half <= widest:
        most = math.degrees(2 * widest)
        raise InputError(
            f"field_of_view: expected degrees above 0, at most {most:.4g} of this lens, got {field_of_view}"
        )
    squares = torch.tensor(half * half, dtype=torch.float64)
    return size / 2 / (half * float(_polynomial(squares, coefficients)[0]))
