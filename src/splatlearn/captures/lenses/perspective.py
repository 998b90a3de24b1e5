"""Models of ordinary lenses: a pinhole, and distortions of its picture.

Sources: COLMAP's camera models; OpenCV's calibration (Brown–Conrady); Devernay and Faugeras 2001 for `FOV`; Fitzgibbon
2001 for the division model.
"""

from __future__ import annotations

import math

import numpy as np

from splatlearn.captures.lenses.models import Numbers, Perspective, Plane

SMALL = 1e-8
"""Below this square of a radius or angle, the first terms of a series take the place of a quotient 0 / 0."""


def decentred(u: Numbers, v: Numbers, p1: float, p2: float) -> Plane:
    """Return OpenCV's tangential displacement."""
    squared = u * u + v * v
    return 2 * p1 * u * v + p2 * (squared + 2 * u * u), 2 * p2 * u * v + p1 * (squared + 2 * v * v)


class SimplePinhole(Perspective):
    name, number = "SIMPLE_PINHOLE", 0
    parameters = ("f", "cx", "cy")
    general = "PINHOLE"


class Pinhole(Perspective):
    name, number = "PINHOLE", 1
    parameters = ("fx", "fy", "cx", "cy")


class SimpleRadial(Perspective):
    name, number = "SIMPLE_RADIAL", 2
    parameters = ("f", "cx", "cy", "k")
    general = "OPENCV"

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        factor = 1 + further[0] * (u * u + v * v)
        return u * factor, v * factor


class Radial(Perspective):
    name, number = "RADIAL", 3
    parameters = ("f", "cx", "cy", "k1", "k2")
    general = "OPENCV"

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        k1, k2 = further
        squared = u * u + v * v
        factor = 1 + squared * (k1 + squared * k2)
        return u * factor, v * factor


class OpenCV(Perspective):
    name, number = "OPENCV", 4
    parameters = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        k1, k2, p1, p2 = further
        squared = u * u + v * v
        factor = 1 + squared * (k1 + squared * k2)
        across, down = decentred(u, v, p1, p2)
        return u * factor + across, v * factor + down


class FullOpenCV(Perspective):
    name, number = "FULL_OPENCV", 6
    parameters = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        k1, k2, p1, p2, k3, k4, k5, k6 = further
        squared = u * u + v * v
        factor = 1 + squared * (k1 + squared * (k2 + squared * k3))
        factor = factor / (1 + squared * (k4 + squared * (k5 + squared * k6)))
        across, down = decentred(u, v, p1, p2)
        return u * factor + across, v * factor + down


class FieldOfView(Perspective):
    name, number = "FOV", 7
    parameters = ("fx", "fy", "cx", "cy", "omega")

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        (omega,) = further
        squared = u * u + v * v
        if omega * omega < SMALL:
            factor = 1 + omega * omega * (squared / 3 - 1 / 12)
            return u * factor, v * factor
        twice = 2 * math.tan(omega / 2)
        near = np.real(squared) < SMALL
        radius = np.sqrt(np.where(near, 1.0, squared))
        far = np.arctan(radius * twice) / radius
        factor = np.where(near, twice * (1 - squared * twice * twice / 3), far) / omega
        return u * factor, v * factor


class _Division(Perspective):
    """The undistorted radius is the distorted one over 1 + k times its square."""

    def distort(self, u: Numbers, v: Numbers, further: tuple[float, ...]) -> Plane:
        factor = 2 / (1 + np.sqrt(1 - 4 * further[0] * (u * u + v * v)))
        return u * factor, v * factor


class SimpleDivision(_Division):
    name, number = "SIMPLE_DIVISION", 12
    parameters = ("f", "cx", "cy", "k")
    general = "DIVISION"


class Division(_Division):
    name, number = "DIVISION", 13
    parameters = ("fx", "fy", "cx", "cy", "k")
