"""Quaternions, w first: lengths, products, and rotation matrices."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.device import in_float64

SQUARED_LENGTH = 1e-8
"""Squared length below which `unit_quaternions` returns the identity."""


def unit_quaternions(numbers: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Normalise quaternions; one shorter than 1e-4 becomes the identity, without a gradient."""
    identity = torch.eye(4, dtype=numbers.dtype, device=numbers.device)[0]
    tiny = numbers.square().sum(-1, keepdim=True) < SQUARED_LENGTH
    # Replacing before dividing keeps NaN out of the backward pass too.
    return F.normalize(torch.where(tiny, identity, numbers), dim=-1)


def unit_quaternion_arrays(quaternions: Float[np.ndarray, "K 4"]) -> Float[np.ndarray, "K 4"]:
    """Normalise quaternions of any length that float32 holds; a quaternion of zeros becomes the identity."""
    # The largest entry is divided out first: squares of huge or tiny entries leave float32.
    largest = np.abs(quaternions).max(axis=-1, keepdims=True)
    identity = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
    scaled = np.where(largest > 0, quaternions / np.where(largest > 0, largest, 1.0), identity)
    return (scaled / np.linalg.norm(scaled, axis=-1, keepdims=True)).astype(np.float32)


def quaternions_to_matrices(quaternions: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 3 3"]:
    """Return the rotation matrices of quaternions of any length but zero.

    The length is divided out; a quaternion of zeros gives the zero matrix rather than NaN.
    """
    squared = (quaternions * quaternions).sum(-1, keepdim=True)
    # Entries are quadratic in the quaternion, so dividing products by |q|^2 once avoids a square root.
    inverse = 2.0 / squared.clamp_min(torch.finfo(quaternions.dtype).tiny)
    w, x, y, z = quaternions.unbind(-1)
    s = inverse.squeeze(-1)
    one = (squared > 0).to(quaternions.dtype).squeeze(-1)
    rows = [
        one - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), one - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), one - s * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrices_to_quaternions(matrices: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """Return the unit quaternions of rotation matrices; computed in float64, without gradients."""
    # Importing SciPy's rotations is slow, and few callers need them.
    from scipy.spatial.transform import Rotation

    flat = in_float64(matrices.detach()).cpu().reshape(-1, 3, 3).numpy()
    xyzw = Rotation.from_matrix(flat).as_quat()
    wxyz = torch.from_numpy(np.ascontiguousarray(xyzw[:, [3, 0, 1, 2]]))
    return wxyz.reshape(*matrices.shape[:-2], 4).to(matrices)


def multiply_quaternions(left: Float[Tensor, "*B 4"], right: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Return the products of quaternions, one by one: the rotations of `right`, followed by those of `left`."""
    w, x, y, z = left.unbind(-1)
    a, b, c, d = right.unbind(-1)
    return torch.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        dim=-1,
    )


def multiply_quaternion(left: Float[Tensor, " 4"], quaternions: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Return the products of one quaternion with others: the rotations of `quaternions`, followed by that of `left`."""
    w, x, y, z = left.unbind(-1)
    matrix = torch.stack([w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w]).reshape(4, 4)
    return quaternions @ matrix.T.to(quaternions)
