"""Colours of real spherical harmonics on a GPU, and their gradients, one Gaussian in each thread.

The formula is that of `core/geometry/harmonics.py`: the harmonic of band l and order ±m is a polynomial in z times the
real or imaginary part of (x + iy)^m.
"""

from __future__ import annotations

import math
from typing import no_type_check

import triton
import triton.language as tl

from splatlearn.core.geometry.harmonics import MAX_DEGREE

SIDE = tl.constexpr(MAX_DEGREE + 1)


def _elevations() -> tuple[float, ...]:
    """Coefficients of 1, z, … z⁴ for each band l and order m, with the scale and sign of the harmonic in them."""
    table = [[[0.0] * (MAX_DEGREE + 1) for _ in range(MAX_DEGREE + 1)] for _ in range(MAX_DEGREE + 1)]
    for m in range(MAX_DEGREE + 1):
        # The recurrence of `harmonics_basis`, on coefficients.
        below, legendre = [0.0], [float(math.prod(range(1, 2 * m, 2)))]
        for band in range(m, MAX_DEGREE + 1):
            if band > m:
                lifted = [(2 * band - 1) * each for each in [0.0, *legendre]]
                lowered = [(band + m - 1) * each for each in below] + [0.0] * (len(lifted) - len(below))
                below, legendre = legendre, [(a - b) / (band - m) for a, b in zip(lifted, lowered, strict=True)]
            share = math.factorial(band - m) / math.factorial(band + m)
            scale = (-1) ** m * math.sqrt((2 * band + 1) / (4 * math.pi) * share * (2 if m else 1))
            table[band][m][: len(legendre)] = [scale * each for each in legendre]
    return tuple(each for band in table for order in band for each in order)


ELEVATIONS = tl.constexpr(_elevations())
"""Flat: a kernel cannot index a tuple of tuples."""


@triton.jit
@no_type_check
def unit_of(direction):
    """The unit vector of a direction, and one over its length, which is at least that of `normalize` in PyTorch."""
    length = tl.sqrt(direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2])
    inverse = 1.0 / tl.maximum(length, 1e-12)
    return (direction[0] * inverse, direction[1] * inverse, direction[2] * inverse), inverse


@triton.jit
@no_type_check
def _elevation(z, BAND: tl.constexpr, ORDER: tl.constexpr):
    """The polynomial in z of a harmonic, and its derivative."""
    value = tl.zeros_like(z)
    slope = tl.zeros_like(z)
    for step in tl.static_range(BAND - ORDER + 1):
        slope = slope * z + value
        value = value * z + ELEVATIONS[(BAND * SIDE + ORDER) * SIDE + BAND - ORDER - step]
    return value, slope


@triton.jit
@no_type_check
def _times_coefficient(sh, place, there, basis):
    """The share of one coefficient [3] in a colour."""
    return (
        basis * tl.load(sh + place, mask=there, other=0.0),
        basis * tl.load(sh + place + 1, mask=there, other=0.0),
        basis * tl.load(sh + place + 2, mask=there, other=0.0),
    )


@triton.jit
@no_type_check
def colors_of_harmonics(sh, place, there, unit, DEGREE: tl.constexpr):
    """max(0, SH + ½) of the Gaussians `place` [N] with coefficients [K, (DEGREE + 1)², 3], in unit directions."""
    x, y, z = unit[0], unit[1], unit[2]
    first = place * ((DEGREE + 1) * (DEGREE + 1) * 3)
    red = tl.zeros_like(z) + 0.5
    green, blue = red, red
    for band in tl.static_range(DEGREE + 1):
        real, imaginary = tl.zeros_like(z) + 1.0, tl.zeros_like(z)
        for order in tl.static_range(band + 1):
            elevation, _ = _elevation(z, band, order)
            part = _times_coefficient(sh, first + 3 * (band * band + band + order), there, elevation * real)
            red, green, blue = red + part[0], green + part[1], blue + part[2]
            if order > 0:
                part = _times_coefficient(sh, first + 3 * (band * band + band - order), there, elevation * imaginary)
                red, green, blue = red + part[0], green + part[1], blue + part[2]
            real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return tl.maximum(red, 0.0), tl.maximum(green, 0.0), tl.maximum(blue, 0.0)


@triton.jit
@no_type_check
def _coefficient_backward(sh, of_sh, place, there, seen, basis, by_color, FRESH: tl.constexpr):
    """Write or add the gradient of one coefficient [3]; returns that of its harmonic."""
    coefficient = _times_coefficient(sh, place, seen, 1.0)
    for channel in tl.static_range(3):
        put(of_sh, place + channel, basis * by_color[channel], there, seen, FRESH)
    return coefficient[0] * by_color[0] + coefficient[1] * by_color[1] + coefficient[2] * by_color[2]


@triton.jit
@no_type_check
def colors_of_harmonics_backward(
    sh, of_sh, place, there, seen, unit, by_color, DEGREE: tl.constexpr, FRESH: tl.constexpr
):
    """Gradients of coefficients, written or added, and of unit directions, returned as if their length were free.

    `by_color` is 0 where a colour was clamped. Only Gaussians that are `seen` have a gradient, others one of 0.
    """
    x, y, z = unit[0], unit[1], unit[2]
    first = place * ((DEGREE + 1) * (DEGREE + 1) * 3)
    by_x = tl.zeros_like(z)
    by_y, by_z = by_x, by_x
    for band in tl.static_range(DEGREE + 1):
        # Parts of (x + iy)^m and of (x + iy)^(m−1).
        real, imaginary = tl.zeros_like(z) + 1.0, tl.zeros_like(z)
        last_real, last_imaginary = imaginary, imaginary
        for order in tl.static_range(band + 1):
            elevation, slope = _elevation(z, band, order)
            middle = first + 3 * (band * band + band)
            plus = _coefficient_backward(sh, of_sh, middle + 3 * order, there, seen, elevation * real, by_color, FRESH)
            by_z += plus * slope * real
            by_x += plus * elevation * order * last_real
            by_y -= plus * elevation * order * last_imaginary
            if order > 0:
                minus = _coefficient_backward(
                    sh, of_sh, middle - 3 * order, there, seen, elevation * imaginary, by_color, FRESH
                )
                by_z += minus * slope * imaginary
                by_x += minus * elevation * order * last_imaginary
                by_y += minus * elevation * order * last_real
            last_real, last_imaginary = real, imaginary
            real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return by_x, by_y, by_z


@triton.jit
@no_type_check
def put(results, place, value, there, seen, FRESH: tl.constexpr):
    """Write the gradient of a first view, 0 for what is not seen, or add that of another view."""
    if FRESH:
        tl.store(results + place, tl.where(seen, value, 0.0), mask=there)
    else:
        tl.store(results + place, tl.load(results + place, mask=seen, other=0.0) + value, mask=seen)
