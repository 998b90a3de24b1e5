"""A capture: photographs with cameras, and the points that were triangulated from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int, UInt8

from splatlearn.captures.lenses import Lens
from splatlearn.core.geometry.similarity import Similarity

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class View:
    """A photograph and the camera that took it.

    - `name`: the path of the photograph below the folder of photographs, with forward slashes; unique in a capture.
    - `path`: the file, which exists.
    - `lens`: of pictures of the size that decoding gives, distortion included.
    - `world_to_camera`: a rigid transform [4, 4], float64. The camera looks along z, x points right and y down.
    - `mask_path`: a picture that is black where the photograph must not be used.
    - `depth_path`: a map of depths along the camera's axis, whose numbers are world units divided by `depth_unit`.
    - `has_alpha`: whether the file has an alpha channel.
    - `split`: "train" for views that are fitted, "test" for those held out, "val" for neither.
    - `orientation`: the EXIF orientation that decoding applies. It is 1, pixels as they are stored, unless only the
      turned picture has the shape that the camera has.
    """

    name: str
    path: Path
    lens: Lens
    world_to_camera: Float64[np.ndarray, "4 4"]
    mask_path: Path | None = None
    has_alpha: bool = False
    split: Split = "train"
    orientation: int = 1
    depth_path: Path | None = None
    depth_unit: float = 1.0

    @property
    def center(self) -> Float64[np.ndarray, " 3"]:
        """Where the camera stands in the capture's world."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]

    def around(self, origin: Float64[np.ndarray, " 3"]) -> View:
        """Return the view in a world whose origin is a point of the capture's world."""
        pose = self.world_to_camera.copy()
        pose[:3, 3] += pose[:3, :3] @ origin
        return replace(self, world_to_camera=pose)


@dataclass(frozen=True, eq=False)
class Tracks:
    """In which photographs each of N points was seen: M observations in the order of the points.

    - `starts` [N + 1]: point i has the observations `starts[i]` to `starts[i + 1]`.
    - `views` [M]: indices into the capture's views.
    - `pixels` [M, 2]: where the point was seen, in pixels of the view's lens.
    """

    starts: Int[np.ndarray, " N1"]
    views: Int[np.ndarray, " M"]
    pixels: Float64[np.ndarray, "M 2"]

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """How many photographs each point was seen in."""
        return np.diff(self.starts)

    @property
    def points(self) -> Int[np.ndarray, " M"]:
        """The index of the point of each observation."""
        return np.repeat(np.arange(len(self.starts) - 1), self.lengths)


@dataclass(frozen=True, eq=False)
class Points:
    """N points in the capture's world.

    - `xyz` [N, 3]; `rgb` [N, 3], grey where the file has no colours.
    - `errors` [N]: mean reprojection errors in pixels as the file has them, NaN where it does not know them; None for
      files without errors.
    - `tracks`: None for files without observations.
    """

    xyz: Float64[np.ndarray, "N 3"]
    rgb: UInt8[np.ndarray, "N 3"]
    errors: Float64[np.ndarray, " N"] | None = None
    tracks: Tracks | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    @classmethod
    def none(cls) -> Points:
        """No points."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.uint8))


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs with cameras in the world of the tool that made them.

    - `folder`: where the capture lies; for an archive, where it was unpacked.
    - `layout`: how it is stored, such as "COLMAP binary" or "transforms.json".
    - `views`: in order of their names.
    - `to_unit`: from the capture's world to one in which the cameras' centre is the origin and the farthest camera is
      1 / 1.1 away from it, so that lengths are what 3D Gaussian Splatting divides by its extent. Axes keep their
      directions. Results are written back through its inverse.
    - `up`: a unit vector that points away from the ground in the capture's world, as the cameras are held.
    - `problems`: one sentence for each thing that is wrong, with what to do about it.
    - `missing`: names of views that are left out because their photograph is not there.
    - `unposed`: names of photographs beside the others that have no camera.
    """

    folder: Path
    layout: str
    views: tuple[View, ...]
    points: Points
    to_unit: Similarity
    up: Float64[np.ndarray, " 3"]
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unposed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.views)

    @property
    def training(self) -> tuple[int, ...]:
        """Indices of the views that are fitted."""
        return tuple(index for index, view in enumerate(self.views) if view.split == "train")

    @property
    def held_out(self) -> tuple[int, ...]:
        """Indices of the views that are held out, on which a fit is judged."""
        return tuple(index for index, view in enumerate(self.views) if view.split == "test")

    @property
    def world_to_camera(self) -> Float64[np.ndarray, "V 4 4"]:
        """The transforms of all views."""
        return np.stack([view.world_to_camera for view in self.views])

    @property
    def centers(self) -> Float64[np.ndarray, "V 3"]:
        """Where the cameras stand in the capture's world."""
        return np.stack([view.center for view in self.views])

    def around(self, origin: Float64[np.ndarray, " 3"]) -> Capture:
        """Return the capture in a world whose origin is a point of its own world; axes and unit stay."""
        return replace(
            self,
            views=tuple(view.around(origin) for view in self.views),
            points=replace(self.points, xyz=self.points.xyz - origin),
            to_unit=self.to_unit.around(origin),
        )
