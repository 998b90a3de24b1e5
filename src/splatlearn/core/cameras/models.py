"""Camera models: each is one class, registered by its name.

A model works in camera space: x right, y down, z away from the camera. Coordinates are separate tensors [*B, K], so
that a caller can replace the depths of points that it does not show before a model divides by them.

To add a model, write a subclass of `CameraModel` and decorate it with `register_camera_model`. Compiled code knows a
model by its `name`, and must refuse a name that it does not know.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError

Pixels = tuple[Tensor, Tensor]
"""u and v [*B, K]: pixels to the right and down."""

Points = tuple[Tensor, Tensor, Tensor]
"""x, y and z [*B, K] in camera space."""


class Lens(NamedTuple):
    """The intrinsics of a camera for tensors [*B, K]: numbers, or tensors [*V, 1] with one value for each view.

    `distortion`: the coefficients of the model, the same for all views; none where all are 0.
    """

    fx: float | Tensor
    fy: float | Tensor
    cx: float | Tensor
    cy: float | Tensor
    width: int
    height: int
    distortion: tuple[float, ...] = ()


class CameraModel(ABC):
    """How points in camera space become pixels.

    - `name`: the name of the model in a `Camera`, in files, and in compiled code.
    - `depth_moves_centers`: whether the pixel of a point depends on its depth.
    - `depth_shrinks_extents`: whether the size of a Gaussian's picture depends on its depth.
    - `rays_are_parallel`: whether the direction of view is that of the camera's axis everywhere.
    - `coefficients`: the number of coefficients that a lens of the model may have besides its intrinsics.
    - `measures_distance`: whether the depth of a point is its distance from the camera, not that along the axis.
    - `is_spherical`: whether the picture shows all directions. Depth is then the distance from the camera, the left and
      the right side of the picture meet, and a Gaussian is evaluated in the tangent plane of its own direction (see
      `splatlearn.rendering.formula`).
    """

    name: ClassVar[str]
    depth_moves_centers: ClassVar[bool] = True
    depth_shrinks_extents: ClassVar[bool] = True
    rays_are_parallel: ClassVar[bool] = False
    coefficients: ClassVar[int] = 0
    measures_distance: ClassVar[bool] = False
    is_spherical: ClassVar[bool] = False

    @abstractmethod
    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        """Return the pixels of points in camera space."""

    @abstractmethod
    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        """Return the points of a depth that `project` maps to pixels u, v."""

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the depths of points, by which they are sorted and compared with the near and the far plane."""
        return z

    def shows(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Tensor:
        """Return which points the lens can show at all, whatever their depths and the size of the picture."""
        return torch.ones_like(z, dtype=torch.bool)

    def refusal(self, lens: Lens) -> str | None:
        """Return what is wrong with the intrinsics of a camera, or None; the first word is the argument's name."""
        return None

    @abstractmethod
    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        """Return J M, the Jacobian of `project_extents` times a matrix M of n vectors.

        - `vectors`: the rows of M [*B, K, n]: coordinates to the right, down and along the axis.
        - `limit`: the Jacobian is taken at most this many half-images off the axis.

        The result is the two rows of J M, [*B, K, n] each.
        """

    def project_extents(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        """Return the pixels by the projection that extents follow; a model may project centres in another way."""
        return self.project(x, y, z, lens)

    def jacobian(
        self, x: Tensor, y: Tensor, z: Tensor, lens: Lens, limit: float = math.inf
    ) -> Float[Tensor, "*B K 2 3"]:
        """Return the Jacobian of `project_extents` in pixels per world unit (see `pushforward`)."""
        eye = torch.eye(3, dtype=z.dtype, device=z.device)
        rows = tuple(row.expand(*z.shape, 3) for row in eye.unbind(0))
        return torch.stack(self.pushforward(x, y, z, (rows[0], rows[1], rows[2]), lens, limit), dim=-2)

    def directions(
        self, means: Float[Tensor, "*B K 3"], centers: Float[Tensor, "*V 3"], axes: Float[Tensor, "*V 3"]
    ) -> Float[Tensor, "*S K 3"]:
        """Return the directions of view to points in the world, of any length.

        - `centers`: where the cameras stand; `axes`: unit vectors along which they look.
        """
        if self.rays_are_parallel:
            return axes.unsqueeze(-2).expand(*axes.shape[:-1], means.shape[-2], 3)
        return means - centers.unsqueeze(-2)


_models: dict[str, CameraModel] = {}


def register_camera_model(model: type[CameraModel]) -> type[CameraModel]:
    """Register a camera model by its name; use it as a decorator of the class.

    Raises InputError when another model has the name.
    """
    if model.name in _models:
        raise InputError(f"name: expected a camera model that is not registered yet, got {model.name!r}")
    _models[model.name] = model()
    return model


def camera_models() -> tuple[str, ...]:
    """Return the names of the registered camera models."""
    return tuple(_models)


def camera_model(name: str) -> CameraModel:
    """Return a registered camera model. Raises InputError for an unknown name."""
    if name not in _models:
        raise InputError(f"model: expected one of {', '.join(_models)}, got {name!r}")
    return _models[name]


def _clamped(values: Tensor, limit: float | Tensor) -> Tensor:
    if isinstance(limit, Tensor):
        return values.clamp(-limit, limit)
    return values.clamp(-limit, limit)


@register_camera_model
class Pinhole(CameraModel):
    """A perspective camera: u = fx·x/z + cx, v = fy·y/z + cy."""

    name = "pinhole"

    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        x, y = x / z, y / z
        return lens.fx * x + lens.cx, lens.fy * y + lens.cy

    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        return (u - lens.cx) / lens.fx * depth, (v - lens.cy) / lens.fy * depth, depth

    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        across, down, along = vectors
        limit_x = limit * lens.width / 2 / lens.fx
        limit_y = limit * lens.height / 2 / lens.fy
        inverse = 1.0 / z
        tangent_x = _clamped(x / z, limit_x).unsqueeze(-1)
        tangent_y = _clamped(y / z, limit_y).unsqueeze(-1)
        return (
            (lens.fx * inverse).unsqueeze(-1) * (across - tangent_x * along),
            (lens.fy * inverse).unsqueeze(-1) * (down - tangent_y * along),
        )


@register_camera_model
class Orthographic(CameraModel):
    """A camera with parallel rays: u = fx·x + cx, v = fy·y + cy. `fx` and `fy` are pixels per world unit."""

    name = "orthographic"
    depth_moves_centers = False
    depth_shrinks_extents = False
    rays_are_parallel = True

    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        return lens.fx * x + lens.cx, lens.fy * y + lens.cy

    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        return (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, depth

    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        across, down, _ = vectors
        fx, fy = (each.unsqueeze(-1) if isinstance(each, Tensor) else each for each in (lens.fx, lens.fy))
        return fx * across, fy * down


@register_camera_model
class Gmae(CameraModel):
    """The camera of GMAE: centres project in parallel, extents in perspective (arXiv 2501.03229, section 3)."""

    name = "gmae"
    depth_moves_centers = False
    centers, extents = Orthographic(), Pinhole()

    def project(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        return self.centers.project(x, y, z, lens)

    def project_extents(self, x: Tensor, y: Tensor, z: Tensor, lens: Lens) -> Pixels:
        return self.extents.project(x, y, z, lens)

    def unproject(self, u: Tensor, v: Tensor, depth: Tensor, lens: Lens) -> Points:
        return self.centers.unproject(u, v, depth, lens)

    def pushforward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        lens: Lens,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor]:
        return self.extents.pushforward(x, y, z, vectors, lens, limit)
