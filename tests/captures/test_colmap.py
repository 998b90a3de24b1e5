"""What programs write in COLMAP's name, and sentences about models that are not whole."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captures.synthetic import (
    Synthetic,
    lens_of,
    synthetic,
    write_colmap_binary,
    write_colmap_text,
    write_photographs,
)
from splatlearn.captures import load_capture
from splatlearn.captures.colmap.model import find_models, read_model
from splatlearn.captures.colmap.text import read_images
from splatlearn.core.errors import FormatError, Malformed, MissingError

NAMES = ("a photo with spaces.png", "b.png", "c.png")


def written(folder: Path, place: str = "sparse/0", names: tuple[str, ...] = NAMES) -> Synthetic:
    made = synthetic(lens_of("PINHOLE"), names)
    write_photographs(folder / "images", names)
    write_colmap_text(folder / place, made)
    return made


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def images_of(folder: Path, lines: list[str]) -> Path:
    (folder / "images.txt").write_text("\n".join(lines))
    return folder / "images.txt"


@pytest.mark.parametrize("place", ["sparse/0", "sparse", ".", "colmap/sparse/0", "dense/sparse", "distorted/sparse/0"])
def test_places_of_models(place: str, tmp_path: Path) -> None:
    made = written(tmp_path, place)
    capture = load_capture(tmp_path)
    assert [view.name for view in capture.views] == list(made.names)
    # The folder of the model will do too.
    assert len(load_capture(tmp_path / place)) == len(made.names)


@pytest.mark.parametrize(
    ("place", "beside", "other"),
    [
        ("dense/0/sparse", "dense/0/images", "images"),
        ("dense/sparse", "dense/images", "images"),
        ("distorted/sparse/0", "input", "images"),
        ("sparse/0", "images", "input"),
    ],
)
def test_photographs_beside_the_model_come_first(place: str, beside: str, other: str, tmp_path: Path) -> None:
    """Undistorted photographs have the names of the distorted ones."""
    write_photographs(tmp_path / beside, NAMES)
    write_photographs(tmp_path / other, NAMES)
    write_colmap_text(tmp_path / place, synthetic(lens_of("PINHOLE"), NAMES))
    for given in (tmp_path, tmp_path / place):
        assert {view.path.parent for view in load_capture(given).views} == {tmp_path / beside}


def test_binary_comes_before_text(tmp_path: Path) -> None:
    made = written(tmp_path)
    write_colmap_binary(tmp_path / "sparse" / "0", made)
    assert load_capture(tmp_path).layout == "COLMAP binary"


def test_the_largest_model_is_read(tmp_path: Path) -> None:
    written(tmp_path, "sparse/10", NAMES[:1])
    written(tmp_path, "sparse/2")
    written(tmp_path, "sparse/0", NAMES[:2])
    assert [folder.name for folder in find_models(tmp_path)] == ["0", "2", "10"]
    capture = load_capture(tmp_path)
    assert len(capture) == 3
    assert capture.problems == (
        "The photographs fell into 3 models that have nothing in common; 2 with 3 photographs is read, not 0 with 2, "
        "10 with 1. Take photographs between the parts.",
    )
    assert len(load_capture(tmp_path / "sparse" / "0")) == 2


def test_lines_of_features_may_be_empty_or_missing(tmp_path: Path) -> None:
    pose = "1 0 0 0 0 0 0"
    rows = read_images(
        images_of(tmp_path, ["", f"1 {pose} 1 a b.png", "", f"2 {pose} 1 c.png", f"3 {pose} 1 d.png", "1 2 -1 3 4 7"])
    )
    assert [(row.name, len(row.features)) for row in rows] == [("a b.png", 0), ("c.png", 0), ("d.png", 2)]


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    made = written(tmp_path)
    for path in (tmp_path / "sparse" / "0").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    capture = load_capture(tmp_path)
    assert capture.problems == () and np.abs(capture.world_to_camera - made.poses).max() < 1e-9


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 1 0 0"], "line 1: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got '1 1 0 0'"),
        (["#", "1 1,5 0 0 0 0 0 0 1 a.png"], "line 2: expected a number, got '1,5'; numbers take a point, not a comma"),
        (["x 1 0 0 0 0 0 0 1 a.png"], "line 1: expected a whole number, got 'x'"),
        (["1 1 0 0 0 0 0 0 1 a.png", "1 2"], "line 2: expected triples X Y POINT3D_ID, or the next image, got '1 2'"),
        (["1 1 0 0 0 0 0 0 1.5 a.png"], "line 1: expected a whole number, got '1.5'"),
    ],
)
def test_lines_that_do_not_parse(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Malformed) as caught:
        read_images(images_of(tmp_path, lines))
    assert str(caught.value) == message


def test_errors_name_the_file(tmp_path: Path) -> None:
    written(tmp_path)
    replaced(tmp_path / "sparse" / "0" / "points3D.txt", "# 3D point list", "what is this")
    with pytest.raises(FormatError, match=r"sparse/0/points3D\.txt: line 1: expected POINT3D_ID X Y Z"):
        load_capture(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PINHOLE 48 32 40.0", "PINHOLE 48 32 0.0", "expected fx > 0 for PINHOLE, got 0.0"),
        ("PINHOLE 48 32 40.0", "PINHOLE 48 32 nan", "expected a finite number for fx of PINHOLE, got nan"),
        ("PINHOLE 48 32 40.0", "PINHOLE 48 0 40.0", "height: expected a whole number of at least 1, got 0"),
        ("PINHOLE 48 32 40.0", "PINHOLE 48 32", "expected the 4 parameters fx, fy, cx, cy of PINHOLE, got 3 numbers"),
        ("PINHOLE", "TELESCOPE", "TELESCOPE"),
        ("5 PINHOLE", "6 PINHOLE", "there is no camera number 5"),
    ],
)
def test_cameras_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    written(tmp_path)
    replaced(tmp_path / "sparse" / "0" / "cameras.txt", old, new)
    with pytest.raises(FormatError) as caught:
        load_capture(tmp_path)
    assert "no photograph of the capture can be used: 3 views left out" in str(caught.value)
    assert message in str(caught.value)


def test_a_pose_that_cannot_be_leaves_one_view_out(tmp_path: Path) -> None:
    made = written(tmp_path)
    line = next(
        line for line in (tmp_path / "sparse/0/images.txt").read_text().splitlines() if line.endswith("5 b.png")
    )
    words = line.split()
    replaced(tmp_path / "sparse/0/images.txt", line, " ".join([words[0], "0", "0", "0", "0", *words[5:]]))
    capture = load_capture(tmp_path)
    assert [view.name for view in capture.views] == [made.names[0], made.names[2]]
    assert capture.problems == (
        "1 view left out (b.png): the view cannot be used: the rotation is a quaternion of zeros.",
    )
    assert capture.points.tracks is not None and (capture.points.tracks.lengths == 2).all()


def test_points_that_cannot_be(tmp_path: Path) -> None:
    made = written(tmp_path)
    path = tmp_path / "sparse" / "0" / "points3D.txt"
    lines = path.read_text().splitlines()
    words = lines[3].split()
    lines[3] = " ".join([words[0], "-nan(ind)", *words[2:]])
    words = lines[5].split()
    lines[5] = " ".join([*words[:-4], "99", "0", words[-2], "12345"])
    path.write_text("\n".join(lines))
    capture = load_capture(tmp_path)
    assert capture.problems == (
        "Observations of points3D that have no feature in the images are left out (2); the files may be of "
        "different runs.",
        "1 of 20 points have NaN or huge coordinates and are left out.",
    )
    keep = np.arange(20) != 2
    assert (capture.points.xyz == made.xyz[keep]).all() and (capture.points.rgb == made.rgb[keep]).all()
    tracks = capture.points.tracks
    assert tracks is not None
    assert tracks.lengths.tolist() == [3, 3, 3, 1] + [3] * 15
    assert np.abs(tracks.pixels - made.pixels[tracks.views, np.flatnonzero(keep)[tracks.points]]).max() < 1e-12


def test_models_without_points(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "sparse" / "0" / "points3D.txt").unlink()
    capture = load_capture(tmp_path)
    assert len(capture.points) == 0 and "has no points (points3D)" in capture.problems[0]


def test_points_without_features(tmp_path: Path) -> None:
    """What some programs write: points and tracks, but no features that the tracks could be read from."""
    written(tmp_path)
    path = tmp_path / "sparse" / "0" / "images.txt"
    lines = [line if line.endswith(".png") else "" for line in path.read_text().splitlines()]
    path.write_text("\n".join(line for line in lines if line))
    capture = load_capture(tmp_path)
    assert capture.problems == () and len(capture.points) == 20 and capture.points.tracks is None
    assert capture.points.errors is not None


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("cameras", lambda data: data[:12] + struct.pack("<i", 99) + data[16:], "camera 5: "),
        ("cameras", lambda data: data[:-1], "expected 4 parameters of camera 5, but the file is cut off"),
        ("cameras", lambda data: data + b"\0", "got 1 more bytes"),
        ("cameras", lambda data: b"", "the file is empty"),
        ("images", lambda data: data.replace(b"\0b.png", b"\0" * 6)[: len(data) - 9], "cut off"),
        ("points3D", lambda data: data[:-4], "cut off"),
        ("points3D", lambda data: data[:51] + struct.pack("<Q", 2**60) + data[59:], "a count is wrong"),
    ],
)
def test_binary_files_that_do_not_parse(
    file: str, change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    write_photographs(tmp_path / "images", NAMES)
    write_colmap_binary(tmp_path / "sparse", synthetic(lens_of("PINHOLE"), NAMES))
    path = tmp_path / "sparse" / f"{file}.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError) as caught:
        load_capture(tmp_path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="expected cameras.bin and images.bin"):
        read_model(tmp_path)
