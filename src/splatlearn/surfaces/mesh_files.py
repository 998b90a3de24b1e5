"""Files of meshes: PLY and Wavefront OBJ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import InputError
from splatlearn.core.ply.container import ply_bytes
from splatlearn.surfaces.mesh import Mesh

ENDINGS = (".ply", ".obj")
"""Endings of the files that `write_mesh` writes."""
FINEST = 2.0**-20
"""Of the largest coordinate: floats hold less than this, and coordinates finer than it are written as doubles."""


def check_ending(path: Path) -> None:
    """Raise InputError for a file whose ending is none of `ENDINGS`."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"out: expected a file that ends with {' or '.join(ENDINGS)}, got {path.name}")


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh with the colours of its vertices; the ending says the format, .ply or .obj.

    PLY is binary. OBJ has colours after the coordinates of vertices, as MeshLab and Blender read them.
    Raises InputError for another ending.
    """
    check_ending(path)
    made = ply_of(mesh) if path.suffix.lower() == ".ply" else obj_of(mesh)
    with replacing(path) as beside:
        beside.write_bytes(made)


def ply_of(mesh: Mesh) -> bytes:
    """The file of a mesh as binary PLY; coordinates are doubles in worlds whose origin is far away."""
    kind = "<f8" if _is_far(mesh) else "<f4"
    vertices = np.empty(
        len(mesh.vertices), [*((name, kind) for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
    )
    for name, column in zip("xyz", mesh.vertices.T, strict=True):
        vertices[name] = column
    for name, column in zip(("red", "green", "blue"), mesh.colors.T, strict=True):
        vertices[name] = column
    faces = np.empty(len(mesh.faces), [("vertex_indices", "<i4", (3,))])
    faces["vertex_indices"] = mesh.faces
    return ply_bytes({"vertex": vertices, "face": faces}, ["splatlearn mesh"])


def obj_of(mesh: Mesh) -> bytes:
    """The file of a mesh as Wavefront OBJ; faces count vertices from 1."""
    digits = 12 if _is_far(mesh) else 7
    rows = np.concatenate([mesh.vertices, mesh.colors / 255.0], axis=1)
    vertices = "\n".join(("v" + f" %.{digits}g" * 3 + " %.3f" * 3) % tuple(row) for row in rows.tolist())
    faces = "\n".join("f %d %d %d" % tuple(row) for row in (mesh.faces + 1).tolist())  # noqa: UP031
    return f"# splatlearn mesh\n{vertices}\n{faces}\n".encode("ascii")


def _is_far(mesh: Mesh) -> bool:
    """Whether floats would lose the details of a mesh: its coordinates are large for its faces."""
    if not len(mesh.faces):
        return False
    side = float(np.sqrt(np.median(mesh.areas)))
    return side < 256 * FINEST * float(np.abs(mesh.vertices).max())
