"""Which shapes a folder holds, and what they are called."""

from pathlib import Path

import numpy as np
import pytest

from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.reconstruction.objects.sources import list_shapes, read_shape

TRIANGLE = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(TRIANGLE)


def names(*paths: Path, **options: int) -> list[str]:
    return [shape.name for shape in list_shapes(paths, **options)]


def test_classes_and_splits(tmp_path: Path) -> None:
    touch(tmp_path / "modelnet", "chair/train/chair_0001.off", "chair/test/chair_0002.off", "bed/train/bed_0001.off")
    assert names(tmp_path / "modelnet") == ["train/bed/bed_0001", "test/chair/chair_0002", "train/chair/chair_0001"]
    touch(tmp_path / "plain", "cup.off", "b/one.off", "b/set/one.off", "b/note.txt")
    assert sorted(names(tmp_path / "plain")) == ["b/one", "b/set_one", "cup"]
    assert names(tmp_path / "plain" / "cup.off") == ["cup"]


def test_no_two_have_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "one", "a.off", "a.obj")
    touch(tmp_path / "two", "a.off")
    found = names(tmp_path / "one", tmp_path / "two")
    assert found == ["a_obj", "a_off_1", "a_off_2"]


def test_voxels_of_both_layouts(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    grids = generator.random((5, 8, 8, 8)) < 0.3
    packed = np.packbits(grids.reshape(5, -1), axis=1)
    np.savez(tmp_path / "a.npz", cup=packed[:2], box=grids[2:].astype(np.uint8))
    assert names(tmp_path / "a.npz") == ["box/box_0000", "box/box_0001", "box/box_0002", "cup/cup_0000", "cup/cup_0001"]
    np.savez(
        tmp_path / "b.npz", train=packed, test=packed[:1], y_train=np.array([0, 1, 1, 0, 1]), y_test=np.array([1]),
        names=np.array(["bed", "sofa"]),
    )  # fmt: skip
    shapes = list_shapes([tmp_path / "b.npz"], per_class=1)
    assert [shape.name for shape in shapes] == ["test/sofa/sofa_0000", "train/bed/bed_0000", "train/sofa/sofa_0001"]
    # The box around what is occupied tells the grids apart.
    read = read_shape(shapes[2])
    assert read.kind == "voxels" and read.up == "z"
    at = np.argwhere(grids[1])
    np.testing.assert_allclose(read.mesh.vertices.min(axis=0), at.min(axis=0), atol=0.5)
    np.testing.assert_allclose(read.mesh.vertices.max(axis=0), at.max(axis=0) + 1, atol=0.5)


def test_points(tmp_path: Path) -> None:
    places = np.random.default_rng(0).normal(size=(50, 3))
    np.save(tmp_path / "a.npy", np.concatenate([places, np.full((50, 3), 0.5)], axis=1))
    np.savez(tmp_path / "b.npz", points=places, colors=np.full((50, 3), 128, np.uint8))
    for shape in list_shapes([tmp_path]):
        read = read_shape(shape)
        assert read.kind == "points" and (read.mesh.colors == 128).all()


def test_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="found no .*nowhere"):
        list_shapes([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="found none in"):
        list_shapes([tmp_path])
    np.savez(tmp_path / "odd.npz", other=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "flat.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    said = {"broken": "expected arrays of NumPy", "flat": "faces with an area", "odd": "expected an array points"}
    shapes = list_shapes([tmp_path])
    assert [shape.name for shape in shapes] == sorted(said)
    for shape in shapes:
        with pytest.raises(FormatError, match=rf"{shape.file.name}: .*{said[shape.name]}"):
            read_shape(shape)
