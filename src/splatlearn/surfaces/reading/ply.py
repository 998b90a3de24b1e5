"""PLY files with faces."""

from __future__ import annotations

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.ply.body import Lists
from splatlearn.core.ply.container import Ply, parse_ply
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.points import Points
from splatlearn.surfaces.reading.polygons import color_bytes, mesh_of

INDICES = ("vertex_indices", "vertex_index")


def parse_mesh_or_points(data: bytes) -> Mesh | Points:
    """Parse a mesh, or the points of a file without faces; colours are red, green and blue of vertices or of faces.

    Raises Malformed for a file without vertices, for a splat file, and for what does not parse.
    """
    ply = parse_ply(data, lists=("face",))
    vertices = ply.tables.get("vertex")
    names = () if vertices is None else vertices.dtype.names or ()
    if vertices is None or not {"x", "y", "z"} <= set(names):
        raise Malformed("expected an element vertex with x, y and z, found none")
    if "scale_0" in names or "f_dc_0" in names:
        raise Malformed("expected a mesh or points, got a splat file, which needs no fit")
    places = np.stack([vertices[name].astype(np.float64) for name in "xyz"], axis=-1)
    columns = {name: vertices[name] for name in names}
    faces = _faces(ply)
    if faces is None or not len(faces.lengths):
        return Points(places, _colors(columns))
    colored = _colors(columns)
    return mesh_of(
        places,
        faces.lengths,
        faces.numbers.astype(np.int64),
        colored,
        _face_colors(ply.lists["face"]) if colored is None else None,
    )


def _faces(ply: Ply) -> Lists | None:
    columns = ply.lists.get("face", {})
    found = next((columns[name] for name in INDICES if name in columns), None)
    if columns and found is None:
        raise Malformed(f"element face: expected the list {INDICES[0]}, found {', '.join(columns)}")
    return found


def _colors(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """Colours in bytes: whole numbers as they are, others in [0, 1]."""
    if not {"red", "green", "blue"} <= set(columns):
        return None
    chosen = [columns[name] for name in ("red", "green", "blue")]
    whole = all(each.dtype.kind in "iu" for each in chosen)
    return color_bytes(np.stack([each.astype(np.float64) for each in chosen], axis=-1), whole)


def _face_colors(columns: dict[str, Lists]) -> np.ndarray | None:
    chosen = [columns[name] for name in ("red", "green", "blue") if name in columns]
    if len(chosen) < 3 or any((each.lengths != 1).any() for each in chosen):
        return None
    return color_bytes(np.stack([each.numbers for each in chosen], axis=-1), all(each.is_whole for each in chosen))
