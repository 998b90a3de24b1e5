"""Models of fisheyes and of whole panoramas.

Sources: COLMAP's camera models; OpenCV's fisheye calibration (Kannala and Brandt 2006); Project Aria's Fisheye624 for
`RAD_TAN_THIN_PRISM_FISHEYE`; Khomutenko, Garcia and Martinet 2016 for `EUCM`.
"""

from __future__ import annotations

import numpy as np

from splatlearn.captures.lenses.models import Array, Equidistant, LensModel, Numbers, Plane
from splatlearn.captures.lenses.perspective import SMALL, decentred


def radial(u: Numbers, v: Numbers, coefficients: tuple[float, ...]) -> Numbers:
    """Return 1 + k1 r² + k2 r⁴ + …"""
    squared = u * u + v * v
    total = np.zeros_like(squared)
    for each in reversed(coefficients):
        total = squared * (each + total)
    return 1 + total


class _Polynomial(Equidistant):
    """Angles multiplied by a polynomial of their squares, with any number of coefficients."""

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        factor = radial(u, v, further)
        return u * factor, v * factor


class OpenCVFisheye(_Polynomial):
    name, number = "OPENCV_FISHEYE", 5
    parameters = ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")


class SimpleRadialFisheye(_Polynomial):
    name, number = "SIMPLE_RADIAL_FISHEYE", 8
    parameters = ("f", "cx", "cy", "k")
    general = "OPENCV_FISHEYE"


class RadialFisheye(_Polynomial):
    name, number = "RADIAL_FISHEYE", 9
    parameters = ("f", "cx", "cy", "k1", "k2")
    general = "OPENCV_FISHEYE"


class ThinPrismFisheye(Equidistant):
    name, number = "THIN_PRISM_FISHEYE", 10
    parameters = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1")

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        k1, k2, p1, p2, k3, k4, sx1, sy1 = further
        factor = radial(u, v, (k1, k2, k3, k4))
        squared = u * u + v * v
        across, down = decentred(u, v, p1, p2)
        return u * factor + across + sx1 * squared, v * factor + down + sy1 * squared


class RadTanThinPrismFisheye(Equidistant):
    name, number = "RAD_TAN_THIN_PRISM_FISHEYE", 11
    parameters = ("fx", "fy", "cx", "cy", "k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3")

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        (p0, p1), (s0, s1, s2, s3) = further[6:8], further[8:]
        factor = radial(u, v, further[:6])
        u, v = u * factor, v * factor
        across, down = decentred(u, v, p1, p0)
        squared = u * u + v * v
        return u + across + squared * (s0 + squared * s1), v + down + squared * (s2 + squared * s3)


class SimpleFisheye(Equidistant):
    name, number = "SIMPLE_FISHEYE", 14
    parameters = ("f", "cx", "cy")
    general = "FISHEYE"


class Fisheye(Equidistant):
    name, number = "FISHEYE", 15
    parameters = ("fx", "fy", "cx", "cy")


class EnhancedUnified(Equidistant):
    name, number = "EUCM", 16
    parameters = ("fx", "fy", "cx", "cy", "alpha", "beta")
    zeros_are_identity = False  # a pinhole's picture, whose chart is another

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        alpha, beta = further
        squared = u * u + v * v
        near = np.real(squared) < SMALL
        angle = np.sqrt(np.where(near, 1.0, squared))
        sine, cosine = np.sin(angle), np.cos(angle)
        far = sine / angle / (alpha * np.sqrt(beta * sine * sine + cosine * cosine) + (1 - alpha) * cosine)
        # sin a / a ≈ 1 − a²/6; the denominator ≈ 1 − a² (1 − α β) / 2
        factor = np.where(near, 1 - squared * (1 / 6 - (1 - alpha * beta) / 2), far)
        return u * factor, v * factor


class Equirectangular(LensModel):
    """A whole panorama: longitude across, latitude down."""

    name, number = "EQUIRECTANGULAR", 17
    parameters = ("w", "h")
    angles = np.pi

    def flatten(self, x: Array, y: Array, z: Array) -> Plane:
        return np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))

    def lift(self, u: Array, v: Array) -> Array:
        return np.stack([np.sin(u) * np.cos(v), np.sin(v), np.cos(u) * np.cos(v)], axis=-1)

    def radius(self, angle: Array) -> Array:
        return angle
