"""Files of meshes, read by other code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splatlearn.core.errors import InputError
from splatlearn.core.ply.container import parse_ply
from splatlearn.surfaces import Mesh, write_mesh

TETRAHEDRON = Mesh(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32),
    np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]], dtype=np.uint8),
)


@pytest.mark.parametrize(("shift", "kind"), [(0.0, "<f4"), (5e5, "<f8")])
def test_ply(tmp_path: Path, shift: float, kind: str) -> None:
    mesh = Mesh(TETRAHEDRON.vertices + shift, TETRAHEDRON.faces, TETRAHEDRON.colors)
    write_mesh(tmp_path / "a.ply", mesh)
    data = (tmp_path / "a.ply").read_bytes()
    vertices = parse_ply(data).tables["vertex"]
    assert vertices.dtype["x"] == np.dtype(kind)
    assert np.array_equal(np.stack([vertices[name] for name in "xyz"], axis=-1), mesh.vertices)
    assert np.array_equal(np.stack([vertices[name] for name in ("red", "green", "blue")], axis=-1), mesh.colors)
    assert b"element face 4\nproperty list uchar int vertex_indices\nend_header\n" in data
    faces = np.frombuffer(data[-4 * 13 :], [("count", "u1"), ("places", "<i4", 3)])
    assert (faces["count"] == 3).all()
    assert np.array_equal(faces["places"], mesh.faces)


def test_obj(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.OBJ", TETRAHEDRON)
    words = [line.split() for line in (tmp_path / "a.OBJ").read_text().splitlines()]
    vertices = np.array([[float(each) for each in row[1:]] for row in words if row[0] == "v"])
    faces = np.array([[int(each) for each in row[1:]] for row in words if row[0] == "f"])
    assert np.array_equal(vertices[:, :3], TETRAHEDRON.vertices)
    assert np.allclose(vertices[:, 3:], TETRAHEDRON.colors / 255, atol=1e-3)
    assert np.array_equal(faces - 1, TETRAHEDRON.faces)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out: expected a file that ends with \.ply or \.obj, got a\.stl"):
        write_mesh(tmp_path / "a.stl", TETRAHEDRON)
