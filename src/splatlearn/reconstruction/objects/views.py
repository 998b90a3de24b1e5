"""Pictures of a mesh from all around: what splats of an object are fitted to and scored on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import Malformed
from splatlearn.reconstruction.objects.sources import Up
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.rasterising import visible
from splatlearn.surfaces.shading import lit

FIELD_OF_VIEW = 40.0
"""Degrees."""
MARGIN = 1.05
"""Radius of the ball that a view shows whole, in that of the object."""
SAMPLES = 2
"""Number of rays along each side of a pixel."""
GOLDEN = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, eq=False)
class Surface:
    """Places on a surface that views show: `points` [P, 3], `normals` [P, 3] to the outside, `colors` [P, 3]."""

    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]
    colors: Float[np.ndarray, "P 3"]


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """Pictures of an object.

    - `cameras` [V]: pinhole, around the ball of radius 1.
    - `pictures` [V, 4, H, W]: red, green, blue and opacity; colours are not multiplied by it.
    - `surface`: what the rays met.
    """

    cameras: Camera
    pictures: UInt8[Tensor, "V 4 H W"]
    surface: Surface


def in_unit_ball(mesh: Mesh, up: Up) -> Mesh:
    """Return the mesh in the frame of objects: in the ball of radius 1 around the middle of its box, −y up.

    `up`: the axis of the mesh that points up. Raises Malformed for a mesh without extent.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    centred = mesh.vertices - (low + high) / 2
    radius = float(np.linalg.norm(used - (low + high) / 2, axis=1).max())
    if not (0 < radius < math.inf):
        raise Malformed(f"expected a shape with an extent, got one of radius {radius}")
    x, y, z = (centred / radius).T
    # Half a turn about x takes y up to −y, a quarter of one takes z there; neither mirrors.
    turned = np.stack([x, -y, -z] if up == "y" else [x, -z, y], axis=-1)
    return replace(mesh, vertices=turned)


def cameras_around(count: int, size: int, phase: float = 0.0) -> Camera:
    """Return `count` cameras that look at the middle from all sides, evenly spread over the sphere.

    - `size`: height and width of the pictures; `phase`: turn about the vertical, in parts of the step between two.
    """
    away = MARGIN / math.sin(math.radians(FIELD_OF_VIEW / 2))
    made = []
    for number in range(count):
        height, turn = 1 - 2 * (number + 0.5) / count, GOLDEN * (number + phase)
        flat = math.sqrt(1 - height**2)
        eye = (away * flat * math.cos(turn), -away * height, away * flat * math.sin(turn))
        made.append(Camera.look_at(eye, (0.0, 0.0, 0.0), size, size, FIELD_OF_VIEW))
    return replace(made[0], viewmats=torch.stack([each.viewmats for each in made]))


def look_around(mesh: Mesh, cameras: Camera, is_shaded: bool = True) -> ObjectViews:
    """Take pictures of a mesh in the unit ball, with four rays for each pixel.

    `is_shaded`: whether a sun and a sky light it; its colours are seen as they are otherwise.
    """
    fine = replace(
        cameras, width=SAMPLES * cameras.width, height=SAMPLES * cameras.height,
        **{name: SAMPLES * getattr(cameras, name) for name in ("fx", "fy", "cx", "cy")},
    )  # fmt: skip
    pictures, found = [], []
    for index in range(cameras.batch_shape[0]):
        camera = fine[index]
        eye = camera.centers.double().numpy()
        hits = visible(mesh, camera)
        light = lit(mesh, hits, eye, is_shaded)
        values = np.zeros((fine.height * fine.width, 4), dtype=np.float32)
        values[hits.pixels, :3], values[hits.pixels, 3] = light.colors, 1.0
        split = values.reshape(cameras.height, SAMPLES, cameras.width, SAMPLES, 4)
        blocks = split.mean(axis=(1, 3))
        blocks[..., :3] /= np.maximum(blocks[..., 3:], 1e-6)
        pictures.append((255 * blocks).round().astype(np.uint8).transpose(2, 0, 1))
        found.append((light.points, light.normals, light.colors))
    surface = Surface(*(np.concatenate(each) for each in zip(*found, strict=True)))
    return ObjectViews(cameras, torch.from_numpy(np.stack(pictures)), surface)
