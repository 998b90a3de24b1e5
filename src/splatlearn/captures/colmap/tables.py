"""The three tables of a COLMAP model as their files have them, binary or text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.lenses import Lens
from splatlearn.core.errors import InputError

NO_POINT = -1
"""The number of the point that a feature without a point has."""


class CameraRow(NamedTuple):
    """A camera; `lens` is None where it cannot be used, and `fault` says why."""

    lens: Lens | None
    fault: str = ""


class ImageRow(NamedTuple):
    """A posed photograph: `pose` is a quaternion (w first) and a translation; `features` [n, 2] are pixels."""

    number: int
    pose: NDArray[np.float64]
    camera: int
    name: str
    features: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointTable:
    """N points and the M elements of their tracks: pairs of an image's number and the index of a feature in it.

    `starts` [N + 1] says which elements belong to a point.
    """

    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]
    errors: NDArray[np.float64]
    starts: NDArray[np.int64]
    elements: NDArray[np.int64]

    @classmethod
    def none(cls) -> PointTable:
        """No points."""
        return cls(
            np.zeros((0, 3)),
            np.zeros((0, 3), dtype=np.uint8),
            np.zeros(0),
            np.zeros(1, dtype=np.int64),
            np.zeros((0, 2), dtype=np.int64),
        )


class Model(NamedTuple):
    """A whole model, its cameras by their numbers."""

    cameras: dict[int, CameraRow]
    images: list[ImageRow]
    points: PointTable


def camera_row(model: str | int, width: int, height: int, params: tuple[float, ...]) -> CameraRow:
    """Return a camera, or a sentence on the fault of its numbers."""
    try:
        return CameraRow(Lens.of(model, width, height, params))
    except InputError as error:
        return CameraRow(None, str(error))
