"""Rotations as vectors along their axes, whose lengths are angles in radians: to matrices and back, with gradients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NEARLY = 1e-3
"""Radians below which series are taken; the next terms are then below 1e-14."""


def cross_matrices(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Return the matrices whose products with a vector are cross products."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def rotations_of(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Return rotation matrices of vectors along their axes, of lengths in radians, by Rodrigues' formula.

    Gradients at 0 are exact.
    """
    squared = vectors.square().sum(-1)[..., None, None]
    is_small = squared < NEARLY**2
    # Replacing before the square root keeps NaN out of the backward pass.
    angle = torch.where(is_small, 1.0, squared).sqrt()
    first = torch.where(is_small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(is_small, 0.5 - squared / 24, (1 - angle.cos()) / angle.square())
    cross = cross_matrices(vectors)
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye + first * cross + second * (cross @ cross)


def rotation_vectors(rotations: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Return the vectors of rotations by less than π, the inverse of `rotations_of`.

    Gradients at the identity are exact. Near π the axis is lost to rounding.
    """
    skew = (rotations - rotations.mT) / 2
    sines = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    cosine = ((rotations.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)[..., None]
    squared = sines.square().sum(-1, keepdim=True)
    is_small = (squared < NEARLY**2) & (cosine > 0)
    sine = torch.where(is_small, 1.0, squared).sqrt()
    factor = torch.where(is_small, 1 + squared / 6, torch.atan2(sine, cosine) / sine)
    return factor * sines
