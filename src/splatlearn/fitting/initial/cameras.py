"""The extent and the middle of a scene from its cameras, and random first Gaussians in view of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.initial.sizes import round_gaussians

MARGIN = 1.1
"""Factor of the largest distance of a camera from the mean of all, as in 3D Gaussian Splatting."""
AROUND = 3.0
"""Half the side of the cube of random Gaussians, in extents, where cameras do not look at a common point (gsplat)."""
CONVERGING = 0.9
"""Share of the cameras that must have a point in front of them if it is to count as the one that they look at."""


def camera_extent(centers: Float[Tensor, "V 3"]) -> float:
    """Return the extent of a scene in world units, by the convention of 3D Gaussian Splatting.

    - `centers` [V, 3]: where the cameras stand.

    It is 1.1 times the largest distance of a camera from the mean of all, in float64. Raises InputError where all
    stand at one place, which says nothing of the size of the scene.
    """
    points = centers.detach().cpu().double()
    if not len(points):
        raise InputError("centers: expected at least one camera, got none")
    extent = MARGIN * float((points - points.mean(dim=0)).norm(dim=-1).max())
    if not extent > 1e-9 * (1.0 + float(points.abs().max())):
        raise InputError(
            f"centers: expected cameras at different places, got {len(points)} at one; give the scene's extent instead"
        )
    return extent


def look_at_point(cameras: Camera) -> Float[np.ndarray, " 3"] | None:
    """Return the point nearest to the axes of cameras [V], float64; None where they do not look at a common point.

    It is the least-squares point of all axes. Cameras look at it if nine of ten have it before them, and if the axes
    fix it: those of cameras that look in parallel do not. Panoramas look everywhere.
    """
    if cameras.projection.is_spherical:
        return None
    centers, axes = (each.detach().cpu().double().numpy() for each in (cameras.centers, cameras.axes))
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 0.02 * len(axes):
        return None
    point = np.linalg.solve(total, np.einsum("vij,vj->i", across, centers))
    is_before = ((point - centers) * axes).sum(axis=1) > 0
    return point if is_before.mean() >= CONVERGING else None


def scattered_gaussians(
    cameras: Camera, count: int, seed: int = 0, opacity: float = 0.1, scale: float = 0.4
) -> Gaussians:
    """Return `count` Gaussians of random colours at random places, for captures without points.

    - `cameras` [V]: where they are, and in which world.
    - `opacity`: of each; `scale`: by which the mean distances between neighbours are multiplied. Published code has 1,
      a fog that takes hundreds of steps to clear.

    Places are uniform in a cube. Where cameras look at a common point, it stands there, half as wide as what they see
    at the median of their distances; else it reaches three extents from the middle of the cameras. Returns Gaussians
    [count] with `sh` of degree 0, float32. Raises InputError for numbers out of range and cameras at one place.
    """
    check_whole("count", count, 1)
    check_number("opacity", opacity, above=0, most=1)
    check_number("scale", scale, above=0)
    middle, half = scene_cube(cameras)
    draws = Draws(seed)
    places = middle + half * (2.0 * draws.uniforms(Draw.PLACES, count, 3).numpy() - 1.0)
    sh = (draws.uniforms(Draw.COLORS, count, 1, 3).float() - 0.5) / C0
    return round_gaussians(places, sh, opacity, scale, largest=half)


def scene_cube(cameras: Camera) -> tuple[Float[np.ndarray, " 3"], float]:
    """Return the middle of the cube in which a scene of cameras [V] is expected, float64, and half its side.

    See `scattered_gaussians`. Raises InputError for cameras at one place that do not look at a common point.
    """
    centers = cameras.centers.detach().cpu().double()
    point = look_at_point(cameras)
    if point is None:
        return centers.mean(dim=0).numpy(), AROUND * camera_extent(centers)
    distance = float((centers - torch.from_numpy(point)).norm(dim=-1).median())
    focal = max(float(torch.as_tensor(each).double().median()) for each in (cameras.fx, cameras.fy))
    half_angle = math.atan(min(cameras.width, cameras.height) / (2.0 * focal))
    return point, distance * math.tan(half_angle)
