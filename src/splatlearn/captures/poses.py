"""Poses as files have them, made rigid: from any matrix or quaternion to world-to-camera transforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatlearn.core.errors import Malformed

LARGEST_SHEAR = 0.05
"""Largest distance of an entry from that of the nearest rotation; files round, but not that much."""
LARGEST_COORDINATE = 1e12
"""Largest coordinate in world units; float64 cannot resolve a scene that is farther from the origin."""

Matrix = NDArray[np.float64]


def from_quaternion(quaternion: ArrayLike, translation: ArrayLike) -> Matrix:
    """Return the transform [4, 4] of a quaternion (w first, of any length) and a translation.

    Raises Malformed for numbers that are not finite and a quaternion of zeros.
    """
    numbers, shift = np.asarray(quaternion, dtype=np.float64), np.asarray(translation, dtype=np.float64)
    _check_finite(numbers, shift)
    largest = np.abs(numbers).max()
    if largest == 0:
        raise Malformed("the rotation is a quaternion of zeros")
    numbers = numbers / largest
    w, x, y, z = numbers / np.linalg.norm(numbers)
    made = np.eye(4)
    made[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    made[:3, 3] = shift
    return made


def rigid(matrix: ArrayLike) -> Matrix:
    """Return the rigid transform [4, 4] nearest to a matrix [3, 4] or [4, 4]; a uniform scale of its axes is removed.

    Raises Malformed for other shapes, numbers that are not finite, and axes that are no rotation: singular, sheared or
    mirrored.
    """
    given = np.asarray(matrix, dtype=np.float64)
    if given.shape not in ((3, 4), (4, 4)):
        raise Malformed(f"expected a pose of 4 x 4 numbers, got the shape {list(given.shape)}")
    _check_finite(given[:3, :3], given[:3, 3])
    largest = np.abs(given[:3, :3]).max()
    if largest == 0:
        raise Malformed("the rotation is a matrix of zeros")
    axes = given[:3, :3] / largest
    left, sizes, right = np.linalg.svd(axes)
    turn = left @ right
    if sizes[2] < 1e-6 * sizes[0]:
        raise Malformed("the rotation is a singular matrix")
    if np.linalg.det(turn) < 0:
        raise Malformed("the axes of the camera are mirrored")
    if np.abs(axes / sizes.mean() - turn).max() > LARGEST_SHEAR:
        raise Malformed("the axes of the camera are not perpendicular or not equally long")
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = turn, given[:3, 3]
    return made


def inverted(pose: Matrix) -> Matrix:
    """Return the inverse of a rigid transform."""
    made = np.eye(4)
    made[:3, :3] = pose[:3, :3].T
    made[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return made


def _check_finite(turn: Matrix, shift: Matrix) -> None:
    if not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        raise Malformed("the pose has numbers that are NaN or infinite")
    if np.abs(shift).max() > LARGEST_COORDINATE:
        raise Malformed(f"the camera is more than {LARGEST_COORDINATE:g} units from the origin")
