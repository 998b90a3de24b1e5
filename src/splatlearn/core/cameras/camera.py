"""Cameras: how world coordinates become pixels.

Conventions: x right, y down, z away from the camera; pixel (0, 0) has its centre at (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.checks import check_floating
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number, check_whole

CameraModel = Literal["pinhole", "orthographic", "gmae"]

GMAE_DISTANCE = 8.0
"""World units between the camera of GMAE and the origin (arXiv 2501.03229, section 3)."""


def _identity() -> Tensor:
    return torch.eye(4)


def _point(name: str, values: Sequence[float]) -> Tensor:
    if isinstance(values, Tensor):
        values = values.tolist()
    check_kind(name, values, Iterable)
    if len(numbers := list(values)) != 3:
        raise InputError(f"{name}: expected 3 coordinates, got {len(numbers)}")
    for value in numbers:
        check_number(name, value)
    return torch.tensor([float(value) for value in numbers], dtype=torch.float64)


def _check_size(height: int, width: int) -> None:
    check_whole("height", height, 1)
    check_whole("width", width, 1)


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera of `width` × `height` pixels.

    - `fx`, `fy`: focal lengths in pixels (`"pinhole"`), or pixels per world unit (`"orthographic"`).
    - `cx`, `cy`: principal point in pixels.
    - `model`: `"pinhole"`; `"orthographic"`; or `"gmae"`, whose centres project orthographically while extents
      shrink with depth as in a pinhole camera (what arXiv 2501.03229 trains with).
    - `world_to_camera`: rigid transform [4, 4], or [*B, 4, 4] with one for each set of Gaussians.
    - `near`: Gaussians nearer than this (world units) are not drawn.

    Raises InputError for an unknown model, sizes or focal lengths that are not positive, or a wrong matrix shape.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: CameraModel = "pinhole"
    world_to_camera: Float[Tensor, "*B 4 4"] = field(default_factory=_identity)
    near: float = 0.01

    def __post_init__(self) -> None:
        if self.model not in get_args(CameraModel):
            raise InputError(f"model: expected one of {', '.join(get_args(CameraModel))}, got {self.model!r}")
        _check_size(self.height, self.width)
        for name in ("fx", "fy", "near"):
            check_number(name, getattr(self, name), above=0)
        for name in ("cx", "cy"):
            check_number(name, getattr(self, name))
        check_floating("world_to_camera", self.world_to_camera)
        if tuple(self.world_to_camera.shape[-2:]) != (4, 4):
            raise InputError(f"world_to_camera: expected shape [..., 4, 4], got {list(self.world_to_camera.shape)}")

    @classmethod
    def gmae(cls, height: int, width: int) -> Camera:
        """The camera of GMAE: 8 units back on the z axis, (−1, 1) spans the image along each axis.

        `height`, `width` in pixels. Centres project to px = W/2·x + W/2; extents by the perspective Jacobian with
        fx = W/2 (arXiv 2501.03229).
        """
        _check_size(height, width)
        view = torch.eye(4)
        view[2, 3] = GMAE_DISTANCE
        return cls(width, height, width / 2, height / 2, width / 2, height / 2, "gmae", view)

    @classmethod
    def orthographic(cls, height: int, width: int, distance: float = GMAE_DISTANCE) -> Camera:
        """A camera `distance` back on the z axis for which (−1, 1) spans the image and depth changes no size."""
        _check_size(height, width)
        check_number("distance", distance)
        view = torch.eye(4)
        view[2, 3] = distance
        return cls(width, height, width / 2, height / 2, width / 2, height / 2, "orthographic", view)

    @classmethod
    def pinhole_window(cls, height: int, width: int, distance: float) -> Camera:
        """A pinhole camera `distance` back on the z axis for which (−1, 1) spans the image at z = 0 along each axis.

        Raises InputError for a distance that is not positive.
        """
        _check_size(height, width)
        check_number("distance", distance, above=0)
        view = torch.eye(4)
        view[2, 3] = distance
        fx, fy = distance * width / 2, distance * height / 2
        return cls(width, height, fx, fy, width / 2, height / 2, "pinhole", view)

    @classmethod
    def pinhole(
        cls,
        height: int,
        width: int,
        field_of_view: float = 90.0,
        world_to_camera: Float[Tensor, "*B 4 4"] | None = None,
    ) -> Camera:
        """A pinhole camera with square pixels, its principal point at the centre.

        `field_of_view` is horizontal, in degrees, in (0, 180). Raises InputError outside that range.
        """
        check_number("field_of_view", field_of_view, above=0, below=180)
        _check_size(height, width)
        focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
        view = torch.eye(4) if world_to_camera is None else world_to_camera
        return cls(width, height, focal, focal, width / 2, height / 2, "pinhole", view)

    @classmethod
    def look_at(
        cls,
        eye: Sequence[float],
        target: Sequence[float],
        height: int,
        width: int,
        field_of_view: float = 60.0,
    ) -> Camera:
        """A pinhole camera at `eye` that looks at `target`, the world's −y axis up.

        Raises InputError when the two points coincide or lie above one another.
        """
        position, aim = _point("eye", eye), _point("target", target)
        forward = aim - position
        down = torch.tensor((0.0, 1.0, 0.0), dtype=torch.float64)
        right = torch.linalg.cross(down, forward)
        if float(right.norm()) < 1e-9:
            raise InputError(f"eye, target: expected a line of sight that is not vertical, got {eye} → {target}")
        forward, right = forward / forward.norm(), right / right.norm()
        view = torch.eye(4, dtype=torch.float64)
        view[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward])
        view[:3, 3] = -view[:3, :3] @ position
        return cls.pinhole(height, width, field_of_view, view.float())

    def resized(self, height: int, width: int) -> Camera:
        """The same view on another number of pixels."""
        _check_size(height, width)
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=self.cx * across,
            cy=self.cy * down,
        )
