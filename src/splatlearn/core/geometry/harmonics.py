"""Real spherical harmonics, in the order and with the signs of 3D Gaussian splatting."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError

MAX_DEGREE = 4
C0 = 0.5 / math.sqrt(math.pi)
"""The harmonic of degree 0: a colour is C0 times its coefficient plus one half, plus the higher degrees."""

ROUNDING = 1e-12
"""Entries of the rotation matrices of harmonics below this are 0 but for rounding."""


def coefficient_count(degree: int) -> int:
    """How many coefficients a channel has up to and with a degree."""
    return (degree + 1) ** 2


def degree_of(coefficients: int) -> int | None:
    """The degree that has this many coefficients, None where none up to MAX_DEGREE has."""
    degree = math.isqrt(max(coefficients, 1)) - 1
    return degree if coefficient_count(degree) == coefficients and degree <= MAX_DEGREE else None


def harmonics_basis(directions: Float[Tensor, "*B 3"], degree: int) -> Float[Tensor, "*B M"]:
    """Evaluate the M = (degree + 1)² real spherical harmonics in directions [*B, 3] of any length but zero.

    Order l² + l + m for −l ≤ m ≤ l, with the Condon-Shortley phase: degree 1 is proportional to (−y, z, −x), as in
    3D Gaussian splatting (Kerbl et al. 2023). Raises InputError for degrees outside 0 to 4.
    """
    if not 0 <= degree <= MAX_DEGREE:
        raise InputError(f"degree: expected 0 to {MAX_DEGREE}, got {degree}")
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    columns: list[Tensor] = [x] * coefficient_count(degree)
    # (x + iy)^m carries the azimuth, a polynomial in z the elevation.
    real, imaginary = torch.ones_like(x), torch.zeros_like(x)
    for m in range(degree + 1):
        below, legendre = torch.zeros_like(z), torch.full_like(z, _odd_factorial(m))
        for band in range(m, degree + 1):
            if band > m:
                step = ((2 * band - 1) * z * legendre - (band + m - 1) * below) / (band - m)
                below, legendre = legendre, step
            scale = _scale(band, m)
            middle = band * band + band
            columns[middle + m] = scale * legendre * real
            if m:
                columns[middle - m] = scale * legendre * imaginary
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return torch.stack(columns, dim=-1)


def rotate_harmonics(
    harmonics: Float[Tensor, "*B M 3"], matrix: Float[Tensor, "3 3"], degree: int
) -> Float[Tensor, "*B M 3"]:
    """Coefficients of the same colours after directions are moved by an orthogonal matrix, mirrors included.

    The matrix of each band follows from its harmonics in more directions than it has coefficients.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4 * coefficient_count(degree), 3, generator=generator, dtype=torch.float64)
    before = harmonics_basis(directions, degree)
    after = harmonics_basis(directions @ matrix.double().cpu().T, degree)
    turned = harmonics.clone()
    for band in range(1, degree + 1):
        columns = slice(band * band, (band + 1) ** 2)
        mixing = torch.linalg.lstsq(after[:, columns], before[:, columns]).solution
        # Where axes are only flipped most entries are 0, and their rounding errors differ from call to call.
        mixing = torch.where(mixing.abs() > ROUNDING, mixing, 0.0)
        turned[..., columns, :] = torch.einsum("nm,...mc->...nc", mixing.to(harmonics), harmonics[..., columns, :])
    return turned


def _odd_factorial(m: int) -> float:
    return float(math.prod(range(1, 2 * m, 2)))


def _scale(band: int, m: int) -> float:
    share = math.factorial(band - m) / math.factorial(band + m)
    scale = math.sqrt((2 * band + 1) / (4 * math.pi) * share)
    return scale if m == 0 else (-1) ** m * math.sqrt(2.0) * scale
