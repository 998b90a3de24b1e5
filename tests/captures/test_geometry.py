"""Poses as files have them, the frame that is fitted in, and which way is up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from captures.synthetic import lens_of, projections, synthetic, write_colmap_binary, write_photographs
from splatlearn.captures import load_capture
from splatlearn.captures.capture import Split
from splatlearn.captures.frames import unit_frame, up_direction
from splatlearn.captures.poses import from_quaternion, inverted, rigid
from splatlearn.captures.splits import splits_of
from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.geometry.similarity import Similarity

angles = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


def turned(rotvec: Sequence[float], shift: Sequence[float] = (0, 0, 0)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = Rotation.from_rotvec(rotvec).as_matrix(), shift
    return made


@given(angles, angles, st.floats(1e-300, 1e300))
def test_quaternions_of_any_length(rotvec: list[float], shift: list[float], length: float) -> None:
    x, y, z, w = Rotation.from_rotvec(rotvec).as_quat() * length
    assert np.abs(from_quaternion([w, x, y, z], shift) - turned(rotvec, shift)).max() < 1e-12


@given(angles, angles, st.floats(1e-6, 1e6))
def test_scaled_axes_are_a_rotation(rotvec: list[float], shift: list[float], scale: float) -> None:
    exact = turned(rotvec, shift)
    matrix = exact.copy()
    matrix[:3, :3] *= scale
    assert np.abs(rigid(matrix) - exact).max() < 1e-12
    assert np.abs(rigid(matrix[:3]) - exact).max() < 1e-12
    assert np.abs(inverted(exact) @ exact - np.eye(4)).max() < 1e-12


def test_rounded_axes_are_a_rotation() -> None:
    exact = turned((1, 2, 3))
    made = rigid(exact.round(3))
    assert np.abs(made[:3, :3] @ made[:3, :3].T - np.eye(3)).max() < 1e-12
    assert np.abs(made - exact).max() < 2e-3


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (np.zeros((3, 3)), "matrix of zeros"),
        (np.diag([1.0, 1.0, 0.0]), "singular"),
        (np.diag([1.0, 1.0, -1.0]), "mirrored"),
        (np.diag([1.0, 1.0, 1.5]), "not perpendicular or not equally long"),
        (np.array([[1.0, 0.3, 0], [0, 1, 0], [0, 0, 1]]), "not perpendicular or not equally long"),
        (np.full((3, 3), np.nan), "NaN or infinite"),
        (np.diag([1.0, np.inf, 1.0]), "NaN or infinite"),
    ],
)
def test_axes_that_are_no_rotation(axes: np.ndarray, message: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    with pytest.raises(Malformed, match=message):
        rigid(matrix)


def test_poses_that_cannot_be() -> None:
    with pytest.raises(Malformed, match="quaternion of zeros"):
        from_quaternion([0, 0, 0, 0], [0, 0, 0])
    with pytest.raises(Malformed, match="NaN or infinite"):
        from_quaternion([1, 0, 0, np.nan], [0, 0, 0])
    with pytest.raises(Malformed, match="more than 1e\\+12 units"):
        from_quaternion([1, 0, 0, 0], [0, 1e13, 0])
    with pytest.raises(Malformed, match=r"the shape \[2, 2\]"):
        rigid(np.eye(2))


@given(angles, angles, st.floats(1e-3, 1e3), angles)
def test_similarities(rotvec: list[float], shift: list[float], scale: float, camera: list[float]) -> None:
    made = Similarity(scale, Rotation.from_rotvec(rotvec).as_matrix(), np.array(shift))
    points = np.random.default_rng(0).normal(size=(7, 3))
    assert np.abs(made.inverse.points(made.points(points)) - points).max() < 1e-9
    homogeneous = np.concatenate([points, np.ones((7, 1))], axis=1) @ made.matrix.T
    assert np.abs(homogeneous[:, :3] - made.points(points)).max() < 1e-9 * scale + 1e-12
    # A moved camera sees moved points where it saw the points, at depths that are scaled.
    pose = turned(camera, (0.1, 0.2, 5.0))
    before = points @ pose[:3, :3].T + pose[:3, 3]
    moved = made.cameras(pose)
    after = made.points(points) @ moved[:3, :3].T + moved[:3, 3]
    assert np.abs(after - scale * before).max() < 1e-9 * (1 + scale)
    assert np.abs(moved[:3, :3] @ moved[:3, :3].T - np.eye(3)).max() < 1e-12


def test_what_is_no_similarity() -> None:
    with pytest.raises(InputError, match="scale"):
        Similarity(0.0)
    with pytest.raises(InputError, match="rotation: expected a rotation matrix"):
        Similarity(1.0, np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(InputError, match="translation"):
        Similarity(1.0, np.eye(3), np.array([0.0, np.nan, 0.0]))


def test_worlds_far_from_their_origin(tmp_path: Path) -> None:
    """UTM coordinates: float32 has half a metre there, the unit frame has micrometres."""
    made = synthetic(lens_of("PINHOLE"))
    far = np.array([500_000.0, 5_400_000.0, 300.0])
    pose = made.poses.copy()
    pose[:, :3, 3] -= (made.poses[:, :3, :3] @ far[:, None])[..., 0]
    write_photographs(tmp_path / "images", made.names)
    write_colmap_binary(
        tmp_path / "sparse", type(made)(made.lens, made.names, pose, made.xyz + far, made.rgb, made.pixels)
    )
    capture = load_capture(tmp_path)
    # The world is kept as it is.
    assert np.abs(capture.points.xyz - made.xyz - far).max() < 1e-8
    xyz = capture.to_unit.points(capture.points.xyz).astype(np.float32)
    matrices = capture.to_unit.cameras(capture.world_to_camera).astype(np.float32)
    assert np.abs(xyz).max() < 2
    seen = xyz @ matrices[:, :3, :3].transpose(0, 2, 1) + matrices[:, None, :3, 3]
    assert np.abs(made.lens.project(seen) - projections(made)).max() < 1e-3


def test_the_unit_is_the_extent_of_the_cameras() -> None:
    centers = np.random.default_rng(0).normal(3, 2, (20, 3))
    placed = unit_frame(centers, np.zeros((0, 3))).points(centers)
    assert np.abs(placed.mean(axis=0)).max() < 1e-12
    assert np.linalg.norm(placed, axis=-1).max() == pytest.approx(1 / 1.1)


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_cameras_in_one_place(far: float) -> None:
    points = np.random.default_rng(0).normal(0, 5, (100, 3)) + far
    made = unit_frame(np.full((4, 3), far), points)
    assert np.median(np.linalg.norm(made.points(points), axis=-1)) == pytest.approx(1)
    assert unit_frame(np.full((1, 3), far), np.zeros((0, 3))).scale == 1


@pytest.mark.parametrize("down", [0.0, 0.5, 1.0])
def test_up_of_cameras_that_look_down(down: float) -> None:
    """Also where all of them stand on one side: the mean of their own up would lean."""
    aim = np.array([0.0, 0.0, -3 * down])
    poses = []
    for angle in np.linspace(0, 2, 12):
        center = np.array([3 * np.cos(angle), 3 * np.sin(angle), 0])
        forward = (aim - center) / np.linalg.norm(aim - center)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        poses.append(np.eye(4))
        poses[-1][:3, :3] = [right, np.cross(forward, right), forward]
    assert up_direction(np.stack(poses)) @ [0, 0, 1] > 0.999


def test_up_of_cameras_side_by_side() -> None:
    """Cameras that look the same way have one horizontal axis, which says nothing of up."""
    assert np.abs(up_direction(np.tile(np.eye(4), (5, 1, 1))) - [0, -1, 0]).max() < 1e-12


def test_up_of_cameras_that_cancel() -> None:
    poses = np.stack([np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])])
    assert np.linalg.norm(up_direction(poses)) == pytest.approx(1)


def test_every_eighth_view_is_held_out() -> None:
    names = [f"{index:02d}" for index in range(17)]
    assert [index for index, split in enumerate(splits_of(names, [None] * 17, None)) if split == "test"] == [0, 8, 16]
    assert [index for index, split in enumerate(splits_of(names, [None] * 17, 5)) if split == "test"] == [0, 5, 10, 15]
    assert set(splits_of(names, [None] * 17, 0)) == {"train"}
    assert splits_of(names[:2], [None] * 2, None) == ["train"] * 2


def test_a_capture_keeps_its_own_split() -> None:
    names = ["a", "b", "c", "d"]
    assert splits_of(names, ["train", "val", "test", None], None) == ["train", "val", "test", "train"]
    assert splits_of(names, ["train", "val", "train", "val"], None) == ["train", "test", "train", "test"]
    assert splits_of(names, ["train", "test", "train", "val"], 3) == ["test", "train", "train", "test"]
    only: list[Split | None] = ["train"] * 4
    assert splits_of(names, only, None) == ["test", "train", "train", "train"]


@pytest.mark.parametrize("every", [1, -1])
def test_splits_that_cannot_be(every: int) -> None:
    with pytest.raises(InputError, match="hold_out"):
        splits_of(["a", "b", "c"], [None] * 3, every)
