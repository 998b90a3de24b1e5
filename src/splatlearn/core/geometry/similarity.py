"""Similarities: rotation, scale and translation between two worlds, in float64."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number


def _identity() -> np.ndarray:
    return np.eye(3)


def _zeros() -> np.ndarray:
    return np.zeros(3)


@dataclass(frozen=True, eq=False)
class Similarity:
    """The map x ↦ scale · rotation · x + translation between two worlds of right-handed axes; the identity by default.

    - `scale`: a number above 0; `rotation`: a rotation matrix [3, 3]; `translation`: [3].

    Everything is float64: worlds whose origin is far away, such as UTM coordinates, leave float32. Raises InputError
    for a scale that is not positive, and matrices that are not rotations.
    """

    scale: float = 1.0
    rotation: Float64[np.ndarray, "3 3"] = field(default_factory=_identity)
    translation: Float64[np.ndarray, " 3"] = field(default_factory=_zeros)

    def __post_init__(self) -> None:
        check_number("scale", self.scale, above=0)
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(self.rotation) < 0:
            raise InputError(f"rotation: expected a rotation matrix, got {self.rotation.tolist()}")
        if not np.isfinite(self.translation).all():
            raise InputError(f"translation: expected finite numbers, got {self.translation.tolist()}")

    @property
    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """The map as a matrix of homogeneous coordinates."""
        made = np.eye(4)
        made[:3, :3] = self.scale * self.rotation
        made[:3, 3] = self.translation
        return made

    @property
    def inverse(self) -> Similarity:
        """The map back."""
        turn = np.ascontiguousarray(self.rotation.T)
        return Similarity(1.0 / self.scale, turn, -(turn @ self.translation) / self.scale)

    def around(self, origin: Float64[np.ndarray, " 3"]) -> Similarity:
        """Return the same map from a first world whose origin is a point of this one's."""
        return replace(self, translation=self.points(origin))

    def points(self, xyz: Float64[np.ndarray, "*B 3"]) -> Float64[np.ndarray, "*B 3"]:
        """Move points."""
        return self.scale * (xyz @ self.rotation.T) + self.translation

    def cameras(self, world_to_camera: Float64[np.ndarray, "*V 4 4"]) -> Float64[np.ndarray, "*V 4 4"]:
        """Move cameras: world-to-camera matrices that show a moved world as the given ones show the world.

        Depths are multiplied by the scale, pixels stay where they are.
        """
        made = world_to_camera.copy()
        turn = world_to_camera[..., :3, :3] @ self.rotation.T
        made[..., :3, :3] = turn
        made[..., :3, 3] = self.scale * world_to_camera[..., :3, 3] - turn @ self.translation
        return made
