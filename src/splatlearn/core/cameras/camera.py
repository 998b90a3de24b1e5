"""Cameras: how world coordinates become pixels.

Conventions: x right, y down, z away from the camera; pixel (0, 0) has its centre at (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.fisheye import focal_length
from splatlearn.core.cameras.models import CameraModel, Lens, camera_model
from splatlearn.core.checks import check_floating, sees_values
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number, check_whole

GMAE_DISTANCE = 8.0
"""World units between the camera of GMAE and the origin (arXiv 2501.03229, section 3)."""

INTRINSICS = ("fx", "fy", "cx", "cy")


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
    """A camera of `width` × `height` pixels, or a batch [*V] of such cameras.

    - `fx`, `fy`: focal lengths in pixels (`"pinhole"`, `"gmae"`), or pixels per world unit (`"orthographic"`).
    - `cx`, `cy`: the principal point in pixels. Each of these four is one number for all views, or a tensor [*V].
    - `model`: the name of a registered camera model: `"pinhole"`, `"orthographic"`, `"panorama"` (all directions, see
      `Camera.panorama`), `"fisheye"` (see `Camera.fisheye`), or `"gmae"`, whose centres project orthographically while
      extents shrink with depth as in a pinhole camera (what arXiv 2501.03229 trains with).
    - `viewmats`: rigid transforms from world to camera, [4, 4] or [*V, 4, 4].
    - `near`, `far`: Gaussians whose depth is below `near` or above `far` (world units) are not drawn. The depth is that
      along the axis; of a panorama and of a fisheye it is the distance from the camera.
    - `distortion`: the coefficients of a model that has some, the same for all views: k1 to k4 of a fisheye. ():
      all are 0.

    Raises InputError for an unknown model, sizes or focal lengths that are not positive, another number of
    coefficients, or shapes that do not fit.
    """

    width: int
    height: int
    fx: float | Float[Tensor, "*V"]
    fy: float | Float[Tensor, "*V"]
    cx: float | Float[Tensor, "*V"]
    cy: float | Float[Tensor, "*V"]
    model: str = "pinhole"
    viewmats: Float[Tensor, "*V 4 4"] = field(default_factory=_identity)
    near: float = 0.01
    far: float = math.inf
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        model = camera_model(self.model)
        _check_size(self.height, self.width)
        check_number("near", self.near, above=0)
        if self.far != math.inf:
            check_number("far", self.far, above=self.near)
        check_floating("viewmats", self.viewmats)
        if tuple(self.viewmats.shape[-2:]) != (4, 4):
            raise InputError(f"viewmats: expected shape [..., 4, 4], got {list(self.viewmats.shape)}")
        for name in INTRINSICS:
            self._check_intrinsic(name, getattr(self, name), 0.0 if name in ("fx", "fy") else None)
        if len(self.distortion) not in (0, model.coefficients):
            wanted = f"{model.coefficients} coefficients, or none," if model.coefficients else "no coefficients"
            raise InputError(f"distortion: expected {wanted} of the model {self.model}, got {len(self.distortion)}")
        for value in self.distortion:
            check_number("distortion", value)
        reason = model.refusal(Lens(self.fx, self.fy, self.cx, self.cy, self.width, self.height, self.distortion))
        if reason is not None:
            raise InputError(reason)

    def _check_intrinsic(self, name: str, value: float | Tensor, above: float | None) -> None:
        if not isinstance(value, Tensor):
            check_number(name, value, above=above)
            return
        check_floating(name, value)
        if tuple(value.shape) != self.batch_shape:
            wanted = f"a number or shape {list(self.batch_shape)}, one value for each of viewmats"
            raise InputError(f"{name}: expected {wanted} {list(self.viewmats.shape)}, got {list(value.shape)}")
        if sees_values(value):
            for each in value.detach().flatten().tolist():
                check_number(name, each, above=above)

    @classmethod
    def from_K(
        cls,
        K: Float[Tensor, "*V 3 3"],
        height: int,
        width: int,
        viewmats: Float[Tensor, "*V 4 4"] | None = None,
        model: str = "pinhole",
    ) -> Camera:
        """A camera, or one for each of a batch, from intrinsic matrices without skew, in pixels.

        `viewmats` are identities by default. Raises InputError for a matrix of another shape.
        """
        check_floating("K", K)
        if tuple(K.shape[-2:]) != (3, 3):
            raise InputError(f"K: expected shape [..., 3, 3], got {list(K.shape)}")
        values = (K[..., 0, 0], K[..., 1, 1], K[..., 0, 2], K[..., 1, 2])
        fx, fy, cx, cy = values if K.ndim > 2 or K.requires_grad else (float(each) for each in values)
        view = torch.eye(4).expand(*K.shape[:-2], 4, 4) if viewmats is None else viewmats
        return cls(width, height, fx, fy, cx, cy, model, view)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The batch shape *V; () for one camera."""
        return tuple(self.viewmats.shape[:-2])

    @property
    def K(self) -> Float[Tensor, "*V 3 3"]:
        """The intrinsic matrices, in pixels."""
        made = torch.zeros(*self.batch_shape, 3, 3, dtype=self.viewmats.dtype, device=self.viewmats.device)
        for place, name in zip(((0, 0), (1, 1), (0, 2), (1, 2)), INTRINSICS, strict=True):
            made[(..., *place)] = getattr(self, name)
        made[..., 2, 2] = 1.0
        return made

    @property
    def projection(self) -> CameraModel:
        """The registered camera model."""
        return camera_model(self.model)

    @property
    def has_own_intrinsics(self) -> bool:
        """Whether some intrinsics are tensors with one value for each view."""
        return any(isinstance(getattr(self, name), Tensor) for name in INTRINSICS)

    @property
    def centers(self) -> Float[Tensor, "*V 3"]:
        """Where the cameras stand, in world units."""
        turn, shift = self.viewmats[..., :3, :3], self.viewmats[..., :3, 3:]
        return -(turn.mT @ shift).squeeze(-1)

    @property
    def axes(self) -> Float[Tensor, "*V 3"]:
        """Unit vectors in the world along which the cameras look."""
        return self.viewmats[..., 2, :3]

    def lens(self, like: Tensor) -> Lens:
        """The intrinsics for tensors [*V, K] such as `like`: numbers, or tensors [*V, 1] of its dtype and device."""
        values = (getattr(self, name) for name in INTRINSICS)
        fx, fy, cx, cy = (each.to(like).unsqueeze(-1) if isinstance(each, Tensor) else each for each in values)
        return Lens(fx, fy, cx, cy, self.width, self.height, self.distortion)

    def directions(self, means: Float[Tensor, "*B K 3"]) -> Float[Tensor, "*S K 3"]:
        """Directions of view to points in the world, of any length, as harmonics take them.

        They run from the centre of the camera to each point, also for `"gmae"`, and along the axis of an
        orthographic camera. The batch axes of points and cameras are broadcast to *S.
        """
        here = replace(self, viewmats=self.viewmats.to(means))
        return self.projection.directions(means, here.centers, here.axes)

    def project(self, points: Float[Tensor, "*B K 3"]) -> tuple[Float[Tensor, "*S K 2"], Float[Tensor, "*S K"]]:
        """The pixels (u, v) of points in the world, inside and outside of the picture, and their depths.

        Depths are those along the axis; of a panorama and of a fisheye they are distances. Points nearer than `near`
        are not shown, and have pixels as if they lay at this depth, which are finite. The batch axes of points and
        cameras are broadcast to *S.
        """
        view, model = self.viewmats.to(points), self.projection
        x, y, z = (points @ view[..., :3, :3].mT + view[..., None, :3, 3]).unbind(-1)
        ahead = z if model.measures_distance else z.clamp_min(self.near)
        pixels = torch.stack(model.project(x, y, ahead, self.lens(z)), dim=-1)
        return pixels, model.depth(x, y, z)

    def unproject(self, pixels: Float[Tensor, "*B K 2"], depths: Float[Tensor, "*B K"]) -> Float[Tensor, "*B K 3"]:
        """The points in the world that the camera shows at pixels (u, v) for depths along its axis.

        Depths of a panorama and of a fisheye are distances from the camera.
        """
        u, v = pixels.unbind(-1)
        points = torch.stack(self.projection.unproject(u, v, depths, self.lens(depths)), dim=-1)
        view = self.viewmats.to(depths)
        return (points - view[..., None, :3, 3]) @ view[..., :3, :3]

    def __getitem__(self, index: int | slice | Tensor) -> Camera:
        """Index the leading batch axis."""
        if not self.batch_shape:
            raise IndexError("a camera without a batch axis cannot be indexed")
        return self.map(lambda tensor: tensor[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> Camera:
        """Apply a function to every tensor: the matrices, and intrinsics that differ between views."""
        own = {name: value for name in INTRINSICS if isinstance(value := getattr(self, name), Tensor)}
        changed = {name: function(value) for name, value in own.items()}
        return replace(self, viewmats=function(self.viewmats), **changed)

    def to(self, target: torch.device | str | torch.dtype) -> Camera:
        """Move to a device or convert to a dtype."""
        return self.map(lambda tensor: tensor.to(target))

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
        viewmats: Float[Tensor, "*V 4 4"] | None = None,
    ) -> Camera:
        """A pinhole camera with square pixels, its principal point at the centre.

        `field_of_view` is horizontal, in degrees, in (0, 180). Raises InputError outside that range.
        """
        check_number("field_of_view", field_of_view, above=0, below=180)
        _check_size(height, width)
        focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
        view = torch.eye(4) if viewmats is None else viewmats
        return cls(width, height, focal, focal, width / 2, height / 2, "pinhole", view)

    @classmethod
    def panorama(cls, height: int, width: int, viewmats: Float[Tensor, "*V 4 4"] | None = None) -> Camera:
        """A camera that shows all directions: equirectangular, longitude to the right and latitude down.

        - `height`, `width` in pixels; pixels are square in angle if the width is twice the height.
        - `viewmats`: from world to camera, identities by default. The axis of the camera is the middle of the picture,
          and its down is the lowest row.
        """
        _check_size(height, width)
        view = torch.eye(4) if viewmats is None else viewmats
        across, down = width / (2 * math.pi), height / math.pi
        return cls(width, height, across, down, width / 2, height / 2, "panorama", view)

    @classmethod
    def fisheye(
        cls,
        height: int,
        width: int,
        field_of_view: float = 180.0,
        distortion: Sequence[float] = (),
        viewmats: Float[Tensor, "*V 4 4"] | None = None,
    ) -> Camera:
        """A fisheye of Kannala and Brandt with square pixels, its principal point at the centre.

        - `field_of_view`: horizontal, in degrees, above 0, at most 358 and what the lens shows.
        - `distortion`: k1 to k4, as OpenCV and COLMAP have them; (): an equidistant lens.

        Raises InputError for an angle that the lens does not show.
        """
        _check_size(height, width)
        coefficients = tuple(float(each) for each in distortion)
        focal = focal_length(width, field_of_view, coefficients)
        view = torch.eye(4) if viewmats is None else viewmats
        lens = focal, focal, width / 2, height / 2
        return cls(width, height, *lens, "fisheye", view, distortion=coefficients)

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
