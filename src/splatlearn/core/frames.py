"""Coordinate frames, named by where their x, y and z axes point."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.device import in_float64
from splatlearn.core.errors import InputError

LIBRARY_FRAME = "RDF"
"""x right, y down, z away from the camera: the frame of every camera here, and of 3DGS and compressed PLY and SOG."""

# What each letter means in the library's frame.
POINTS_TO = {"R": (0, 1), "L": (0, -1), "D": (1, 1), "U": (1, -1), "F": (2, 1), "B": (2, -1)}


def check_frame(name: str, frame: str) -> None:
    """Raise InputError unless `frame` names three perpendicular axes (right, left, up, down, front, back)."""
    axes = {POINTS_TO[letter][0] for letter in frame if letter in POINTS_TO}
    if len(frame) != 3 or len(axes) != 3:
        raise InputError(
            f"{name}: expected where x, y and z point, one of R or L, U or D, F or B each, such as 'RDF' (x right, "
            f"y down, z front) or 'RUB', got {frame!r}"
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


def matrices_to_quaternions(matrices: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternions, w first, of rotation matrices; computed in float64, without gradients."""
    flat = in_float64(matrices.detach()).cpu().reshape(-1, 3, 3).numpy()
    xyzw = scipy.spatial.transform.Rotation.from_matrix(flat).as_quat()
    wxyz = torch.from_numpy(np.ascontiguousarray(xyzw[:, [3, 0, 1, 2]]))
    return wxyz.reshape(*matrices.shape[:-2], 4).to(matrices)


def turn_quaternions(quaternions: Float[Tensor, "K 4"], matrix: Float[Tensor, "3 3"]) -> Float[Tensor, "K 4"]:
    """Rotations of Gaussians after an orthogonal matrix moved space.

    A Gaussian equals its own point reflection, so a mirror may be replaced by the rotation −matrix. It also equals
    itself turned by half about its own axes: where axes are only flipped, that keeps the identity what it is.
    """
    proper = matrix * torch.linalg.det(matrix).sign()
    if bool((proper.diagonal() != 0).all()):
        return quaternions * torch.cat([proper.new_ones(1), proper.diagonal()]).to(quaternions)
    w, x, y, z = matrices_to_quaternions(proper).unbind(-1)
    left = torch.stack([w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w]).reshape(4, 4)
    return quaternions @ left.T.to(quaternions)
