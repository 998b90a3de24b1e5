"""Words of transforms files, their splits and their points; captures of depth cameras; which layout is read."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures.synthetic import (
    lens_of,
    synthetic,
    write_colmap_text,
    write_instant_ngp,
    write_nerfstudio,
    write_photographs,
)
from splatlearn.captures import Capture, Lens, load_capture
from splatlearn.captures.finding.point_files import read_point_file
from splatlearn.core.errors import FormatError

NAMES = tuple(f"{number}.png" for number in range(4))


def written(folder: Path, model: str = "PINHOLE") -> dict[str, Any]:
    write_photographs(folder / "images", NAMES)
    write_nerfstudio(folder, synthetic(lens_of(model), NAMES))
    return json.loads((folder / "transforms.json").read_text())


def loaded(folder: Path, document: dict[str, Any]) -> Capture:
    (folder / "transforms.json").write_text(json.dumps(document))
    return load_capture(folder)


def lens_from(folder: Path, **words: Any) -> Lens:
    """The lens of a capture whose header has these words, and whose frames have none."""
    document = written(folder)
    keys = ("file_path", "transform_matrix")
    frames = [{key: frame[key] for key in keys} for frame in document["frames"]]
    return loaded(folder, {"frames": frames, **words}).views[0].lens


HALF = 2 * math.atan(0.5)
"""The angle of view of a focal length that is as long as the picture."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"camera_angle_x": HALF}, ("PINHOLE", (48, 48, 24, 16))),
        ({"camera_angle_x": HALF, "camera_angle_y": HALF}, ("PINHOLE", (48, 32, 24, 16))),
        ({"camera_angle_y": HALF}, ("PINHOLE", (32, 32, 24, 16))),
        ({"x_fov": math.degrees(HALF)}, ("PINHOLE", (48, 48, 24, 16))),
        ({"fl_x": 40, "camera_angle_x": 1}, ("PINHOLE", (40, 40, 24, 16))),
        ({"fl_x": 40, "fl_y": 42, "cx": 23, "cy": 17, "w": 48.0, "h": 32.0}, ("PINHOLE", (40, 42, 23, 17))),
        ({"fl_x": 40, "fl_y": None, "cx": None}, ("PINHOLE", (40, 40, 24, 16))),
        ({"fl_x": 80, "w": 96, "h": 64}, ("PINHOLE", (40, 40, 24, 16))),
        ({"fl_x": 40, "k1": 0.1, "k2": 0, "p1": 0.01}, ("OPENCV", (40, 40, 24, 16, 0.1, 0, 0.01, 0))),
        ({"fl_x": 40, "k1": 0, "k2": 0.0}, ("PINHOLE", (40, 40, 24, 16))),
        ({"fl_x": 40, "k3": 0.1}, ("FULL_OPENCV", (40, 40, 24, 16, 0, 0, 0, 0, 0.1, 0, 0, 0))),
        ({"fl_x": 40, "camera_model": "SIMPLE_RADIAL", "k1": 0.1}, ("OPENCV", (40, 40, 24, 16, 0.1, 0, 0, 0))),
        ({"fl_x": 40, "is_fisheye": True, "k3": 0.1}, ("OPENCV_FISHEYE", (40, 40, 24, 16, 0, 0, 0.1, 0))),
        ({"fl_x": 40, "camera_model": "OPENCV_FISHEYE"}, ("OPENCV_FISHEYE", (40, 40, 24, 16, 0, 0, 0, 0))),
        (
            {"fl_x": 40, "camera_model": "OPENCV", "distortion_params": [0.1, 0.2, 0, 0, 0.01, 0.02]},
            ("OPENCV", (40, 40, 24, 16, 0.1, 0.2, 0.01, 0.02)),
        ),
        ({"camera_model": "EQUIRECTANGULAR"}, ("EQUIRECTANGULAR", (48, 32))),
    ],
)
def test_words_of_lenses(words: dict[str, Any], expected: tuple[str, tuple[float, ...]], tmp_path: Path) -> None:
    lens = lens_from(tmp_path, **words)
    assert (lens.model, lens.width, lens.height) == (expected[0], 48, 32)
    assert lens.params == pytest.approx(expected[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "expected a focal length (fl_x) or an angle of view (camera_angle_x), found neither"),
        ({"fl_x": 0}, "expected fx > 0 for PINHOLE, got 0"),
        ({"fl_x": "long"}, "fl_x: expected a number, got 'long'"),
        ({"fl_x": float("nan")}, "fl_x: expected a finite number, got nan"),
        ({"fl_x": 10**400}, "fl_x: expected a finite number, got a huge integer"),
        ({"fl_x": 40, "w": 0, "h": 32}, "w: expected a number of pixels above 0, got 0"),
        ({"camera_angle_x": 4}, "camera_angle_x: expected an angle of view between 0 and 180 degrees, got 4"),
        ({"fl_x": 40, "k4": 0.1}, "k4: expected 0 for OPENCV, whose distortion has k1, k2, k3, p1 and p2, got 0.1"),
        ({"fl_x": 40, "camera_model": "ORTHO"}, "camera_model: expected one of OPENCV"),
        ({"fl_x": 40, "w": 40, "h": 40}, "the photograph has 48 x 32 pixels, its camera 40 x 40"),
    ],
)
def test_words_that_make_no_lens(words: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        lens_from(tmp_path, **words)
    assert "4 views left out (images/0.png, images/1.png, images/2.png, images/3.png)" in str(caught.value)
    assert message in str(caught.value)


def test_a_frame_has_intrinsics_of_its_own(tmp_path: Path) -> None:
    document = written(tmp_path)
    document["frames"][2] |= {"fl_x": 99.0, "k1": 0.1}
    document["frames"][3] = {key: document["frames"][3][key] for key in ("file_path", "transform_matrix")}
    lenses = [view.lens for view in loaded(tmp_path, document).views]
    assert lenses[0] == lenses[1] == lenses[3] == lens_of("PINHOLE")
    assert lenses[2] == Lens("OPENCV", 48, 32, (99, 42, 23, 17, 0.1, 0, 0, 0))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transform_matrix", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "transform_matrix: expected 4 rows of 4 numbers"),
        ("transform_matrix", None, "transform_matrix: expected 4 rows of 4 numbers, got None"),
        ("transform_matrix", np.zeros((4, 4)).tolist(), "the rotation is a matrix of zeros"),
        ("transform_matrix", np.diag([1.0, 1, -1, 1]).tolist(), "the axes of the camera are mirrored"),
        ("file_path", 7, "file_path: expected text, got 7"),
        ("file_path", "", "file_path: expected the name of a photograph, found none"),
        ("fl_x", -5, "expected fx > 0"),
    ],
)
def test_a_frame_that_cannot_be_is_left_out(key: str, value: Any, message: str, tmp_path: Path) -> None:
    document = written(tmp_path)
    document["frames"][1][key] = value
    capture = loaded(tmp_path, document)
    assert [view.name for view in capture.views] == ["images/0.png", "images/2.png", "images/3.png"]
    assert message in capture.problems[0]


def test_poses_of_three_rows(tmp_path: Path) -> None:
    document = written(tmp_path)
    for frame in document["frames"]:
        frame["transform_matrix"] = frame["transform_matrix"][:3]
    assert np.abs(loaded(tmp_path, document).world_to_camera - synthetic(lens_of("PINHOLE"), NAMES).poses).max() < 1e-9


def test_listed_splits(tmp_path: Path) -> None:
    document = written(tmp_path) | {
        "train_filenames": ["images/0.png", "./images/2.png"],
        "val_filenames": ["images/1.png"],
        "test_filenames": ["images/3.png"],
    }
    assert [view.split for view in loaded(tmp_path, document).views] == ["train", "val", "train", "test"]
    with pytest.raises(FormatError, match=r"transforms\.json: val_filenames: expected a list of names, got 3"):
        loaded(tmp_path, document | {"val_filenames": 3})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"frames": []}', '{"frames": {}}', '{"frames": [1]}', "\xff"])
def test_what_is_no_transforms_file(text: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "transforms.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"transforms\.json: "):
        load_capture(tmp_path)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "transforms.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_capture(tmp_path)) == 4


def test_points_that_are_missing_or_broken(tmp_path: Path) -> None:
    document = written(tmp_path)
    (tmp_path / "sparse_pc.ply").write_bytes(b"ply\n")
    assert "The points cannot be read, and are left out: " in loaded(tmp_path, document).problems[0]
    (tmp_path / "sparse_pc.ply").unlink()
    assert load_capture(tmp_path).problems == ("transforms.json names the points sparse_pc.ply, which are not there.",)
    told = loaded(tmp_path, document | {"ply_file_path": "\ud800\n"}).problems
    assert told == (r"transforms.json names the points '\ud800\n', which are not there.",)
    del document["ply_file_path"]
    assert loaded(tmp_path, document).problems == ()


def test_points_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    document = written(tmp_path / "inner")
    (tmp_path / "inner" / "sparse_pc.ply").rename(tmp_path / "outer.ply")
    capture = loaded(tmp_path / "inner", document | {"ply_file_path": "../outer.ply"})
    assert len(capture.points) == 0 and "outer.ply, which are not there" in capture.problems[0]


@pytest.mark.parametrize(
    ("columns", "row", "rgb"),
    [
        ("float x|float y|float z", "1 2 3", (128, 128, 128)),
        ("float x|float y|float z|uchar red|uchar green|uchar blue", "1 2 3 10 20 30", (10, 20, 30)),
        ("float x|float y|float z|float red|float green|float blue", "1 2 3 0 0.5 1", (0, 128, 255)),
        ("double x|double y|double z|float nx|float r|float g|float b", "1 2 3 0 10 20 300", (10, 20, 255)),
    ],
)
def test_point_files(columns: str, row: str, rgb: tuple[int, int, int], tmp_path: Path) -> None:
    lines = ["ply", "format ascii 1.0", "element vertex 2", *(f"property {each}" for each in columns.split("|"))]
    bad = " ".join(["nan", *row.split()[1:]])
    (tmp_path / "x.ply").write_text("\n".join([*lines, "end_header", row, bad, ""]))
    points = read_point_file(tmp_path / "x.ply")
    assert points.xyz.tolist() == [[1, 2, 3]] and points.rgb.tolist() == [list(rgb)]


def test_a_scene_that_moves_is_told(tmp_path: Path) -> None:
    document = written(tmp_path)
    for index, frame in enumerate(document["frames"]):
        frame["time"] = index / 4
    assert "4 different times" in loaded(tmp_path, document).problems[0]


def test_which_layout_is_read(tmp_path: Path) -> None:
    """COLMAP's model beside the photographs comes first; one that a transforms file was made from does not."""
    made = synthetic(lens_of("PINHOLE"), NAMES)
    write_photographs(tmp_path / "images", NAMES)
    write_instant_ngp(tmp_path, made)
    write_colmap_text(tmp_path / "colmap" / "sparse" / "0", made)
    assert load_capture(tmp_path).layout == "transforms.json"
    assert load_capture(tmp_path, layout="colmap").layout == "COLMAP text"
    write_colmap_text(tmp_path / "sparse" / "0", made)
    assert load_capture(tmp_path).layout == "COLMAP text"
    assert load_capture(tmp_path, layout="transforms").layout == "transforms.json"


@pytest.mark.parametrize(
    ("picture", "pose", "intrinsics"),
    [
        ("color/{}.png", "pose/{}.txt", "intrinsics.txt"),
        ("color/{}.png", "pose/{}.txt", "intrinsic/intrinsic_color.txt"),
        ("frame-00{}.color.png", "frame-00{}.pose.txt", "camera-intrinsics.txt"),
    ],
)
def test_depth_cameras(picture: str, pose: str, intrinsics: str, tmp_path: Path) -> None:
    made = synthetic(Lens.pinhole(48, 32, 40, 42, 23, 17), NAMES)
    write_photographs(tmp_path, tuple(picture.format(index) for index in range(4)))
    write_photographs(tmp_path, ("depth/0.png", "frame-000.depth.png"))
    for path in (tmp_path / pose, tmp_path / intrinsics):
        path.parent.mkdir(exist_ok=True)
    matrix = np.array([[40, 0, 23, 0], [0, 42, 17, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    size = 4 if "color" in intrinsics else 3
    np.savetxt(tmp_path / intrinsics, matrix[:size, :size])
    for index, each in enumerate(np.linalg.inv(made.poses)):
        np.savetxt(tmp_path / pose.format(index), each)
    capture = load_capture(tmp_path)
    assert len(capture) == 4 and capture.problems == ()
    assert np.abs(capture.world_to_camera - made.poses).max() < 1e-6
    assert {view.lens for view in capture.views} == {made.lens}
    # Frames whose tracking was lost are left out.
    np.savetxt(tmp_path / pose.format(2), np.full((4, 4), -np.inf))
    capture = load_capture(tmp_path)
    assert len(capture) == 3 and "NaN or infinite" in capture.problems[0]
