"""Coordinate frames, named by where their x, y and z axes point."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.geometry.quaternions import matrices_to_quaternions, multiply_quaternion

LIBRARY_FRAME = "RDF"
"""x right, y down, z away from the camera: the frame of every camera here, and of 3DGS and compressed PLY and SOG."""

# What each letter means in the library's frame.
POINTS_TO = {"R": (0, 1), "L": (0, -1), "D": (1, 1), "U": (1, -1), "F": (2, 1), "B": (2, -1)}


def is_frame(frame: str) -> bool:
    """Whether letters name three perpendicular axes (right, left, up, down, front, back)."""
    return len(frame) == 3 and len({POINTS_TO[letter][0] for letter in frame if letter in POINTS_TO}) == 3


def check_frame(name: str, frame: str) -> None:
    """Raise InputError unless `frame` names three perpendicular axes."""
    if not is_frame(frame):
        raise InputError(
            f"{name}: expected the directions of x, y and z, one each of R or L, U or D, F or B, such as 'RDF' (x "
            f"right, y down, z front) or 'RUB', got {frame!r}"
        )


def frame_matrix(source: str, target: str) -> Float[Tensor, "3 3"]:
    """The orthogonal matrix that takes coordinates in one frame to another; a mirror where their handedness differs."""
    return _axes(target).T @ _axes(source)


def _axes(frame: str) -> Tensor:
    """The axes of a frame as columns, in the library's frame."""
    columns = torch.zeros(3, 3)
    for number, letter in enumerate(frame):
        axis, sign = POINTS_TO[letter]
        columns[axis, number] = sign
    return columns


def turn_quaternions(quaternions: Float[Tensor, "*B 4"], matrix: Float[Tensor, "3 3"]) -> Float[Tensor, "*B 4"]:
    """Rotations of Gaussians after an orthogonal matrix moved space.

    A Gaussian equals its own point reflection, so a mirror may be replaced by the rotation −matrix. It also equals
    itself turned by half about its own axes: where axes are only flipped, that keeps the identity what it is.
    """
    proper = matrix * torch.linalg.det(matrix).sign()
    signs = proper.diagonal().sign()
    if torch.equal(proper, signs.diag()):
        return quaternions * torch.cat([signs.new_ones(1), signs]).to(quaternions)
    return multiply_quaternion(matrices_to_quaternions(proper), quaternions)


def turned_axes(matrix: Float[Tensor, "3 3"]) -> Float[Tensor, " 3"]:
    """Which of a Gaussian's own axes point the other way after `turn_quaternions` than the matrix takes them: −1.

    What has a place along these axes is multiplied by it.
    """
    sign = torch.linalg.det(matrix).sign()
    signs = (matrix * sign).diagonal().sign()
    return sign * (signs if torch.equal(matrix * sign, signs.diag()) else torch.ones_like(signs))
