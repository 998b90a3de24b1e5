"""The surface of a volume of distances, by marching cubes (Lewiner et al. 2003, scikit-image's)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy.ndimage import map_coordinates
from skimage.measure import marching_cubes

from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.volume import BLOCK, Volume

CHUNK = 8
"""Blocks of the side of a part of the volume that is looked at at once."""
VOXELS = CHUNK * BLOCK
FINENESS = 4096
"""Parts of a voxel; vertices on the sides of two chunks that agree to these are one."""


class Window(NamedTuple):
    """The voxels of a chunk, and the first ones of its neighbours."""

    distance: Float32[np.ndarray, "X Y Z"]
    seen: Bool[np.ndarray, "X Y Z"]
    color: Float32[np.ndarray, "X Y Z 3"]
    colored: Bool[np.ndarray, "X Y Z"]


class Piece(NamedTuple):
    """The surface in a chunk: vertices in voxels from the chunk's corner, their faces and colours."""

    vertices: Float32[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "M 3"]
    colors: Float32[np.ndarray, "N 3"]


def extract(volume: Volume, least_views: int = 1) -> Mesh:
    """Return the surface of a volume, where at least `least_views` views see all eight voxels of a cell."""
    places = volume.corners.numpy() // BLOCK
    pieces, corners = [], []
    for chunk in np.unique(places // CHUNK, axis=0):
        piece = _piece(_window(volume, places, chunk, least_views))
        if piece is not None:
            pieces.append(piece)
            corners.append(chunk * VOXELS)
    return _joined(pieces, corners, volume.grid.voxel) if pieces else Mesh.empty()


def _window(volume: Volume, places: Int[np.ndarray, "N 3"], chunk: Int[np.ndarray, " 3"], least_views: int) -> Window:
    inside = places - chunk * CHUNK
    rows = np.flatnonzero(((inside >= 0) & (inside <= CHUNK)).all(axis=1))
    at = tuple(inside[rows].T)

    def dense(values: np.ndarray) -> np.ndarray:
        made = np.zeros((*(CHUNK + 1,) * 3, *(BLOCK,) * 3, *values.shape[2:]), dtype=values.dtype)
        made[at] = values.reshape(-1, *made.shape[3:])
        whole = (CHUNK + 1) * BLOCK
        turned = made.transpose(0, 3, 1, 4, 2, 5, *range(6, made.ndim)).reshape(whole, whole, whole, *values.shape[2:])
        cut = slice(0, VOXELS + 1)
        return np.ascontiguousarray(turned[cut, cut, cut])

    return Window(
        dense(volume.distance[rows].numpy()),
        dense(volume.count[rows].numpy()) >= least_views,
        dense(volume.color[rows].numpy()),
        dense(volume.colored[rows].numpy()) > 0,
    )


def _piece(window: Window) -> Piece | None:
    """The surface of a chunk, None where there is none."""
    negative = window.distance < 0
    whole, crossed = _of_cells(np.logical_and, window.seen), _of_cells(np.logical_or, negative)
    crossed &= ~_of_cells(np.logical_and, negative)
    cells = whole & crossed
    if not cells.any():
        return None
    # scikit-image asks the mask at the last corner of a cell.
    mask = np.pad(cells, ((1, 0),) * 3)
    try:
        vertices, faces, _, _ = marching_cubes(
            window.distance, 0.0, gradient_direction="descent", allow_degenerate=False, mask=mask
        )
    except RuntimeError:  # only degenerate faces
        return None
    weight = np.stack([window.color[..., channel] * window.colored for channel in range(3)] + [window.colored])
    *color, total = (map_coordinates(each.astype(np.float32), vertices.T, order=1) for each in weight)
    return Piece(vertices, faces, np.stack(color, axis=-1) / np.maximum(total, 1e-6)[:, None])


def _of_cells(both: np.ufunc, values: Bool[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "x y z"]:
    """Combine the eight voxels of each cell."""
    for axis in range(3):
        before, after = (np.take(values, range(first, values.shape[axis] - 1 + first), axis) for first in (0, 1))
        values = both(before, after)
    return values


def _joined(pieces: list[Piece], corners: list[Int[np.ndarray, " 3"]], voxel: float) -> Mesh:
    """One mesh: vertices on the sides between chunks are joined."""
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=False)])
    local = np.concatenate([piece.vertices.astype(np.float64) for piece in pieces])
    shift = np.repeat(np.array(corners), np.diff(starts), axis=0)
    on_side = ((local == 0) | (local == VOXELS)).any(axis=1)
    fine = np.rint(local[on_side] * FINENESS).astype(np.int64) + shift[on_side] * FINENESS
    _, first, of = np.unique(fine, axis=0, return_index=True, return_inverse=True)
    same = np.arange(len(local))
    sides = on_side.nonzero()[0]
    same[sides] = sides[first][of.ravel()]
    faces = same[faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    colors = np.concatenate([piece.colors for piece in pieces])
    mesh = Mesh((local + shift) * voxel, faces.astype(np.int32), _bytes(colors))
    return mesh.with_faces(distinct)


def _bytes(colors: Float32[np.ndarray, "N 3"]) -> np.ndarray:
    return (colors.clip(0, 1) * 255).round().astype(np.uint8)
