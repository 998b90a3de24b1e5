"""Cameras written as a transforms file come back, as a capture and as poses alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Lens, load_capture
from splatlearn.captures.lenses.registry import CLASSES
from splatlearn.captures.transforms.writer import AS, read_poses, write_transforms
from splatlearn.core.errors import FormatError

LENSES = {
    "SIMPLE_PINHOLE": (30.0, 20.5, 16.2),
    "PINHOLE": (30.0, 31.0, 20.5, 16.2),
    "SIMPLE_RADIAL": (30.0, 20.5, 16.2, 0.05),
    "RADIAL": (30.0, 20.5, 16.2, 0.05, -0.01),
    "OPENCV": (30.0, 31.0, 20.5, 16.2, 0.05, -0.01, 0.002, -0.003),
    "FULL_OPENCV": (30.0, 31.0, 20.5, 16.2, 0.05, -0.01, 0.002, -0.003, 0.01, 0.02, 0.03, -0.01),
    "SIMPLE_RADIAL_FISHEYE": (30.0, 20.5, 16.2, 0.05),
    "RADIAL_FISHEYE": (30.0, 20.5, 16.2, 0.05, -0.01),
    "OPENCV_FISHEYE": (30.0, 31.0, 20.5, 16.2, 0.05, -0.01, 0.002, -0.003),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("written") / "photos", known_gaussians(count=5), cameras_around(9))


@pytest.mark.parametrize("model", sorted(AS))
def test_every_lens_comes_back_as_the_same_map(model: str, photos: Path, tmp_path: Path) -> None:
    capture = load_capture(photos)
    lens = Lens(model, 40, 32, LENSES[model])
    capture = replace(capture, views=tuple(replace(view, lens=lens) for view in capture.views))
    moved = {view.name: np.eye(4) for view in capture.views[:3]}
    for number, pose in enumerate(moved.values()):
        pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec([0.5, number, -0.3]).as_matrix(), (number, 2.5, -1)
    path = write_transforms(tmp_path / "transforms.json", capture, moved)
    back = load_capture(path, images=photos)
    assert [view.name for view in back.views] == [view.name for view in capture.views]
    assert [view.split for view in back.views] == [view.split for view in capture.views]
    for view, other in zip(capture.views, back.views, strict=True):
        np.testing.assert_allclose(other.world_to_camera, moved.get(view.name, view.world_to_camera), atol=1e-12)
    points = np.random.default_rng(0).normal(size=(50, 3)) * 0.2 + [0, 0, 1]
    ours, theirs = lens.project(points), back.views[0].lens.project(points)
    np.testing.assert_allclose(theirs, ours, atol=1e-9)
    poses = read_poses(path)
    assert set(poses) == {view.name for view in capture.views}
    np.testing.assert_allclose(poses[capture.views[1].name], moved[capture.views[1].name], atol=1e-12)


def test_beside_its_photographs_the_file_is_the_capture(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photos, folder)
    write_transforms(folder / "transforms.json", load_capture(photos), {})
    np.testing.assert_allclose(load_capture(folder).world_to_camera, load_capture(photos).world_to_camera, atol=1e-12)


def test_a_lens_that_the_file_cannot_hold_is_refused_by_its_name(photos: Path, tmp_path: Path) -> None:
    others = {each.name: each for each in CLASSES if each.name not in (*AS, "EQUIRECTANGULAR")}
    model = sorted(others)[0]
    capture = load_capture(photos)
    count = len(others[model].parameters)
    lens = Lens(model, 40, 32, (30.0,) * 2 + (20.0, 16.0) + (0.01,) * (count - 4))
    capture = replace(capture, views=tuple(replace(view, lens=lens) for view in capture.views))
    path = write_transforms(tmp_path / "transforms.json", capture, {})
    with pytest.raises(FormatError, match=f"camera_model: expected one of .* got .?{model}"):
        load_capture(path, images=photos)
    assert len(read_poses(path)) == 9


def test_a_damaged_file_of_poses_is_named(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    path.write_text('{"frames": [{"file_path": "a.png", "transform_matrix": [[1, 2], [3, 4]]}]}')
    with pytest.raises(FormatError, match=r"transforms\.json: transform_matrix: expected 4 rows"):
        read_poses(path)
