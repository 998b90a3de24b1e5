"""Polygons of files to triangles with coloured vertices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh

GREY = 190
"""Red, green and blue, in bytes, of what a file has no colour for."""


def mesh_of(
    vertices: Float[np.ndarray, "N 3"],
    lengths: Int[np.ndarray, " P"],
    corners: Int[np.ndarray, " C"],
    vertex_colors: UInt8[np.ndarray, "N 3"] | None = None,
    face_colors: UInt8[np.ndarray, "P 3"] | None = None,
) -> Mesh:
    """Return the mesh of polygons, each of which becomes a fan of triangles around its first corner.

    - `vertices` [N, 3].
    - `lengths` [P]: number of corners of each polygon; `corners` [C]: their vertices, one polygon after the other.
    - `vertex_colors` [N, 3], `face_colors` [P, 3]: in bytes. Those of faces win, and vertices between faces of
      different colours are doubled. Grey where there are none.

    Polygons of fewer than three corners, and triangles that have a vertex twice, are left out. Raises Malformed for
    vertices that are not there or not finite.
    """
    if len(corners) and not (0 <= corners.min() and corners.max() < len(vertices)):
        wrong = int(corners.max()) if corners.max() >= len(vertices) else int(corners.min())
        raise Malformed(f"faces: expected vertices from 0 to {len(vertices) - 1}, got {wrong}")
    if not np.isfinite(vertices[np.unique(corners)]).all():
        raise Malformed("vertices: expected finite coordinates of all vertices that faces have, got others")
    faces, polygon = _fans(lengths, corners)
    if face_colors is not None and len(face_colors):
        vertices, faces, colors = _apart(vertices, faces, face_colors[polygon])
    else:
        colors = np.full((len(vertices), 3), GREY, np.uint8) if vertex_colors is None else vertex_colors
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Mesh(vertices.astype(np.float64), faces.astype(np.int32), colors).with_faces(distinct)


def _fans(
    lengths: Int[np.ndarray, " P"], corners: Int[np.ndarray, " C"]
) -> tuple[Int[np.ndarray, "M 3"], Int[np.ndarray, " M"]]:
    """The triangles of polygons, and the polygon of each."""
    starts = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - 2, 0)
    polygon = np.repeat(np.arange(len(lengths)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = starts[polygon]
    return corners[np.stack([first, first + place + 1, first + place + 2], axis=-1)], polygon


def _apart(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "M 3"], colors: UInt8[np.ndarray, "M 3"]
) -> tuple[Float[np.ndarray, "K 3"], Int[np.ndarray, "M 3"], UInt8[np.ndarray, "K 3"]]:
    """One vertex for each pair of a vertex and a colour that faces have."""
    packed = colors.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    keys = faces.astype(np.int64) << 24 | packed[:, None]
    pairs, places = np.unique(keys, return_inverse=True)
    made = np.stack([pairs >> shift & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)
    return vertices[pairs >> 24], places.reshape(-1, 3), made


def color_bytes(values: Float[np.ndarray, "N C"], whole: bool) -> UInt8[np.ndarray, "N 3"]:
    """The first three columns as bytes; numbers are bytes if `whole`, and in [0, 1] otherwise."""
    return (values[:, :3] * (1 if whole else 255)).clip(0, 255).round().astype(np.uint8)
