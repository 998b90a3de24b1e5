"""What a camera sees of a mesh: the face and the place on it for each pixel, by scan conversion in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.surfaces.mesh import Mesh

AT_ONCE = 1 << 21
"""Number of pixels of triangles, hidden ones included, that are held at once."""


@dataclass(frozen=True, eq=False)
class Hits:
    """The visible pieces of a mesh, one for each pixel whose centre it covers.

    - `pixels` [P]: row times width plus column, ascending.
    - `faces` [P]: the nearest face there.
    - `weights` [P, 3]: barycentric coordinates on the face, corrected for perspective.
    - `depths` [P]: along the camera's axis.
    """

    pixels: Int[np.ndarray, " P"]
    faces: Int[np.ndarray, " P"]
    weights: Float64[np.ndarray, "P 3"]
    depths: Float64[np.ndarray, " P"]


def visible(mesh: Mesh, camera: Camera) -> Hits:
    """Return what a single pinhole camera sees of a mesh; faces count from both sides.

    A pixel sees the nearest face that covers its centre; of two faces that share an edge exactly one covers a centre
    on it. Raises InputError for another camera model, several views, and vertices of faces nearer than the camera's
    `near`, since faces are not clipped.
    """
    if camera.model != "pinhole" or camera.batch_shape:
        raise InputError(f"camera: expected one pinhole camera, got {list(camera.batch_shape)} of {camera.model}")
    view = camera.viewmats.double().numpy()
    x, y, z = view[:3, :3] @ mesh.vertices.T + view[:3, 3:]
    ahead = np.where(z > camera.near, z, 1.0)
    corners = mesh.faces.T
    if len(mesh.faces) and not z[corners].min() > camera.near:
        raise InputError("mesh: expected all faces in front of the camera; move the camera away")
    columns, rows = camera.fx * x / ahead + camera.cx, camera.fy * y / ahead + camera.cy
    inverse = 1 / ahead
    first, last = _pixel_box(columns[corners], camera.width), _pixel_box(rows[corners], camera.height)
    # Most faces of a fine mesh cover no centre.
    kept = np.flatnonzero((first[1] > first[0]) & (last[1] > last[0]))
    triangles = Triangles(columns[corners[:, kept]], rows[corners[:, kept]], inverse[corners[:, kept]], kept)
    return _nearest(triangles, last[:, kept], camera.height, camera.width)


class Triangles(NamedTuple):
    """Faces in a picture: columns, rows and inverse depths [3, M] of their corners, and their numbers [M]."""

    x: Float64[np.ndarray, "3 M"]
    y: Float64[np.ndarray, "3 M"]
    inverse: Float64[np.ndarray, "3 M"]
    numbers: Int[np.ndarray, " M"]


def _pixel_box(corners: Float64[np.ndarray, "3 M"], size: int) -> Int[np.ndarray, "2 M"]:
    """The first pixel whose centre lies at or after the least coordinate, and the first after the largest."""
    first, second, third = corners
    ends = np.stack([np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)])
    return np.clip(np.ceil(ends - 0.5), 0, size).astype(np.int64)


def _nearest(triangles: Triangles, rows: Int[np.ndarray, "2 M"], height: int, width: int) -> Hits:
    """Scan faces, in parts of bounded size; `rows`: the first row of each and the one after its last."""
    nearest = np.zeros(height * width)
    face_of = np.full(height * width, -1, dtype=np.int64)
    slope_x, slope_y, inverse = _planes(triangles)
    farthest, closest = _least(triangles.inverse), -_least(-triangles.inverse)
    face, row, first, count = _spans(triangles, rows, width)
    ends = np.cumsum(count)
    start, before = 0, 0
    while start < len(face):
        stop = max(start + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        part = slice(start, stop)
        base = inverse[face[part]] + slope_y[face[part]] * (row[part] + 0.5)
        span = np.repeat(np.arange(start, stop), count[part])
        offset = np.arange(len(span)) - (ends[span] - count[span] - before)
        column, faces = first[span] + offset, face[span]
        inverse_depth = base[span - start] + slope_x[faces] * (column + 0.5)
        # Slivers have steep slopes: no pixel of a face lies outside of its corners' depths.
        inverse_depth = np.minimum(np.maximum(inverse_depth, farthest[faces]), closest[faces])
        pixels = row[span] * width + column
        np.maximum.at(nearest, pixels, inverse_depth)
        won = inverse_depth == nearest[pixels]
        face_of[pixels[won]] = faces[won]
        before, start = int(ends[stop - 1]), stop
    pixels = np.flatnonzero(face_of >= 0)
    faces = face_of[pixels]
    weights = _weights(triangles, faces, pixels, width)
    return Hits(pixels, triangles.numbers[faces], weights, 1.0 / nearest[pixels])


def _least(values: Float64[np.ndarray, "3 M"]) -> Float64[np.ndarray, " M"]:
    return np.minimum(np.minimum(values[0], values[1]), values[2])


def _spans(triangles: Triangles, rows: Int[np.ndarray, "2 M"], width: int) -> tuple[np.ndarray, ...]:
    """The rows of pixels that faces cover: the face, the row, its first column, and the number of columns.

    A centre is covered if it lies at or after the left edge and before the right one, at or below the top and above
    the bottom. Only one of two neighbours covers a centre on their edge.
    """
    # From upper to lower corners, so that both faces of an edge compute the same column.
    order = np.argsort(triangles.y, axis=0, kind="stable")
    x, y = np.take_along_axis(triangles.x, order, 0), np.take_along_axis(triangles.y, order, 0)
    long, upper, lower = (_slope(x[j] - x[i], y[j] - y[i]) for i, j in ((0, 2), (0, 1), (1, 2)))
    counts = rows[1] - rows[0]
    face = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(face)) + np.repeat(rows[0] - np.cumsum(counts) + counts, counts)
    level = row + 0.5
    x0, y0, y1 = x[0][face], y[0][face], y[1][face]
    one = x0 + (level - y0) * long[face]
    other = np.where(level < y1, x0 + (level - y0) * upper[face], x[1][face] + (level - y1) * lower[face])
    first = np.clip(np.ceil(np.minimum(one, other) - 0.5), 0, width).astype(np.int64)
    count = np.clip(np.ceil(np.maximum(one, other) - 0.5), 0, width).astype(np.int64) - first
    kept = np.flatnonzero(count > 0)
    return face[kept], row[kept], first[kept], count[kept]


def _slope(across: Float64[np.ndarray, " M"], down: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
    """Columns for each row along an edge; 0 where it lies in one row, which no centre asks about."""
    return np.where(down > 0, across / np.where(down > 0, down, 1.0), 0.0)


def _planes(triangles: Triangles) -> tuple[Float64[np.ndarray, " M"], ...]:
    """The inverse depth of each face as a function of the pixel: its slopes along x and y, and its value at 0."""
    x, y, inverse = triangles.x, triangles.y, triangles.inverse
    ax, ay, bx, by = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    twice = ax * by - ay * bx
    first, second = inverse[1] - inverse[0], inverse[2] - inverse[0]
    # A face seen from its edge covers no centre, or one by rounding: it is flat in depth then.
    over = np.where(np.abs(twice) > 1e-12, 1.0 / np.where(twice == 0, 1.0, twice), 0.0)
    slope_x, slope_y = (first * by - second * ay) * over, (second * ax - first * bx) * over
    return slope_x, slope_y, inverse[0] - slope_x * x[0] - slope_y * y[0]


def _weights(
    triangles: Triangles, faces: Int[np.ndarray, " P"], pixels: Int[np.ndarray, " P"], width: int
) -> Float64[np.ndarray, "P 3"]:
    """Barycentric coordinates in space: those in the picture times inverse depths, normalised."""
    x, y = triangles.x[:, faces] - (pixels % width + 0.5), triangles.y[:, faces] - (pixels // width + 0.5)
    scaled = np.stack([x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))])
    scaled *= np.sign(scaled[0] + scaled[1] + scaled[2]) * triangles.inverse[:, faces]
    # Centres on an edge may lie outside by rounding.
    scaled = np.maximum(scaled, 0.0)
    total = scaled[0] + scaled[1] + scaled[2]
    return np.where(total > 0, scaled / np.where(total > 0, total, 1.0), 1 / 3).T
