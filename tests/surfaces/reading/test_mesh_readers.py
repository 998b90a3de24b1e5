"""OFF, OBJ and PLY as other programs write them: the same triangles and colours from each, and what is wrong named."""

from pathlib import Path

import numpy as np
import pytest

from splatlearn.core.errors import Malformed
from splatlearn.core.ply.container import parse_ply
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.mesh_files import obj_of, ply_of
from splatlearn.surfaces.reading.obj import parse_obj, read_obj
from splatlearn.surfaces.reading.off import parse_off
from splatlearn.surfaces.reading.ply import parse_mesh_or_points
from splatlearn.surfaces.reading.points import Points
from splatlearn.surfaces.reading.polygons import GREY

SQUARE = b"0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


def triangles(mesh: Mesh) -> set[tuple[tuple[float, ...], ...]]:
    """The corners of the faces, whatever their order and the first of each."""
    return {min(tuple(map(tuple, np.roll(each, turn, axis=0))) for turn in range(3)) for each in mesh.corners}


WANTED = {((0, 0, 0), (1, 0, 0), (1, 1, 0)), ((0, 0, 0), (1, 1, 0), (0, 1, 0))}


@pytest.mark.parametrize(
    "data",
    [
        b"OFF\n4 1 0\n" + SQUARE + b"4 0 1 2 3\n",
        b"OFF4 1 0\n" + SQUARE + b"4 0 1 2 3\n",
        b"OFF\n4 2 0\n" + SQUARE + b"3 0 1 2\n3 0 2 3\n",
        b"OFF\r\n4 1 0\r\n" + SQUARE + b"4 0 1 2 3",
    ],
)
def test_off(data: bytes) -> None:
    mesh = parse_off(data)
    assert triangles(mesh) == WANTED
    assert (mesh.colors == GREY).all()


def test_off_skips_comments_and_lines_of_two_corners() -> None:
    mesh = parse_off(b"OFF # made by hand\n\n4 3 0\n" + SQUARE + b"3 0 1 2 # first\n3 0 2 3\n2 0 1\n")
    assert triangles(mesh) == WANTED


def test_colours_of_off() -> None:
    colored = parse_off(b"COFF\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 0 255 0 255\n0 1 0 0 0 255 255\n3 0 1 2\n")
    assert colored.colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    faces = parse_off(b"OFF\n4 2 0\n" + SQUARE + b"3 0 1 2 1.0 0.0 0.0\n3 0 2 3 0.0 0.0 1.0\n")
    # The two vertices of the common edge are there in both colours.
    assert len(faces.vertices) == 6 and triangles(faces) == WANTED
    by_face = faces.colors[faces.faces]
    assert (by_face == by_face[:, :1]).all() and {tuple(each[0]) for each in by_face} == {(255, 0, 0), (0, 0, 255)}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ply\n", "begins with OFF"),
        (b"NOFF\n1 0 0\n", "expected OFF or COFF, got NOFF"),
        (b"OFF BINARY\n", "got a binary one"),
        (b"OFF\n4 9 0\n" + SQUARE, "got 4 lines"),
        (b"OFF\n4 1 0\n" + SQUARE + b"3 0 1 7\n", "vertices from 0 to 3, got 7"),
        (b"OFF\n4 1 0\n" + SQUARE + b"3 0 1\n", "faces: expected as many vertices"),
        (b"OFF\n4 1 0\n" + SQUARE + b"3 0 1 x\n", "faces: expected whole numbers"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n", "finite coordinates"),
        (b"OFF\n3 1 0\n0 0\n1 0\n0 1\n3 0 1 2\n", "at least 3 numbers"),
    ],
)
def test_what_is_wrong_with_off(data: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        parse_off(data)


def test_obj_counts_from_1_and_backwards() -> None:
    vertices = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n"
    assert triangles(parse_obj(vertices + b"f 1/1/1 2/1/1 3/1/1 4/1/1\n")) == WANTED
    assert triangles(parse_obj(vertices + b"f -4 -3 \\\n-2\nf 1//1 3//1 4//1\n")) == WANTED
    with pytest.raises(Malformed, match="line 7: expected vertices counted from 1, got 0"):
        parse_obj(vertices + b"f 0 1 2\n")
    with pytest.raises(Malformed, match="line 7: expected vertices of a face, got 'f a b c'"):
        parse_obj(vertices + b"f a b c\n")


def test_obj_takes_materials_from_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "made.mtl").write_text("newmtl dark red\nKd 0.5 0 0\nnewmtl blue\nKd 0 0 1\n")
    (tmp_path / "out.mtl").write_text("newmtl blue\nKd 0 1 0\n")
    body = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nusemtl dark red\nf 1 2 3\nusemtl blue\nf 1 3 4\n"
    (tmp_path / "in" / "square.obj").write_text("mtllib made.mtl\nmtllib ../out.mtl\n" + body)
    mesh = read_obj(tmp_path / "in" / "square.obj")
    assert triangles(mesh) == WANTED
    assert {tuple(each) for each in mesh.colors} == {(128, 0, 0), (0, 0, 255)}


def some_mesh() -> Mesh:
    generator = np.random.default_rng(0)
    vertices = generator.normal(size=(9, 3)).round(3)
    faces = np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7], [7, 8, 0]], dtype=np.int32)
    return Mesh(vertices, faces, generator.integers(0, 256, (9, 3)).astype(np.uint8))


def test_our_own_files_come_back() -> None:
    mesh = some_mesh()
    from_obj, from_ply = parse_obj(obj_of(mesh)), parse_mesh_or_points(ply_of(mesh))
    assert isinstance(from_ply, Mesh)
    for read in (from_obj, from_ply):
        np.testing.assert_allclose(read.corners, mesh.corners, atol=1e-6)
        assert np.abs(read.colors.astype(int) - mesh.colors).max() <= 1


HEADER = (
    "ply\nformat {form} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 2\nproperty uchar flags\nproperty list uchar int vertex_index\nproperty uchar red\n"
    "property uchar green\nproperty uchar blue\nelement edge 1\nproperty int a\nend_header\n"
)
ROWS = [(7, [0, 1, 2], (200, 0, 0)), (7, [0, 2, 3], (0, 0, 100))]


def ply_data(form: str, rows: list) -> bytes:
    """The square with faces that have other columns beside their lists, and an element after them."""
    head = HEADER.format(form=form).replace("element face 2", f"element face {len(rows)}").encode()
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    if form == "ascii":
        lines = [" ".join(map(str, each)) for each in corners.tolist()]
        lines += [" ".join(map(str, [flag, len(list_), *list_, *color])) for flag, list_, color in rows]
        return head + ("\n".join([*lines, "5"]) + "\n").encode()
    order = "<" if "little" in form else ">"
    body = corners.astype(order + "f4").tobytes()
    for flag, list_, color in rows:
        body += bytes([flag, len(list_)]) + np.array(list_, order + "i4").tobytes() + bytes(color)
    return head + body + np.array([5], order + "i4").tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("uneven", [False, True])
def test_ply_in_all_encodings(form: str, uneven: bool) -> None:
    rows = [*ROWS, (7, [0, 1], (9, 9, 9))] if uneven else ROWS
    data = ply_data(form, rows)
    mesh = parse_mesh_or_points(data)
    assert isinstance(mesh, Mesh) and triangles(mesh) == WANTED
    assert {tuple(each) for each in mesh.colors} == {(200, 0, 0), (0, 0, 100)}
    read = parse_ply(data, lists=("face",))
    assert read.tables["edge"]["a"].tolist() == [5]
    lists = read.lists["face"]
    assert lists["vertex_index"].numbers.tolist() == [float(n) for row in rows for n in row[1]]
    assert lists["flags"].numbers.tolist() == [7.0] * len(rows) and lists["flags"].lengths.tolist() == [1] * len(rows)
    with pytest.raises(Malformed):
        parse_mesh_or_points(data[:-30])


def test_ply_without_faces_is_points_and_splats_are_refused() -> None:
    points = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    read = parse_mesh_or_points(points + b"end_header\n1 2 3\n")
    assert isinstance(read, Points) and read.places.tolist() == [[1, 2, 3]] and read.colors is None
    with pytest.raises(Malformed, match="got a splat file"):
        parse_mesh_or_points(points + b"property float scale_0\nend_header\n1 2 3 4\n")
