"""The inspection of captures that are made to have one fault each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captures.pictures import noise, pinhole, saved, view_of
from splatlearn.captures.capture import Capture, Points, Tracks
from splatlearn.captures.frames import unit_frame
from splatlearn.captures.inspection import inspect_capture
from splatlearn.captures.inspection.geometry import looked_at
from splatlearn.captures.inspection.light import LightOfPoints
from splatlearn.report.capture_page import write_capture_page

COUNT = 16
UP = np.array([0.0, 0.0, 1.0])


def pose_towards(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The transform of a camera that is held upright in a world whose z axis points up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = [right, np.cross(forward, right), forward]
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def ring(folder: Path, angles: np.ndarray, groups: int = 1, shift: float = 0.3) -> Capture:
    """Cameras on a circle that look at points around (1, 2, 3), every point seen by all views of its group."""
    middle, views = np.array([1.0, 2.0, 3.0]), []
    for index, angle in enumerate(angles):
        eye = middle + 4 * np.array([np.cos(angle), np.sin(angle), 0.2])
        path = saved(folder / f"{index:02}.png", 100 + noise(48, 48, index) // 4)
        view = view_of(path, pinhole(48, 48))
        split = "train" if index % 8 else "test"
        views.append(replace(view, world_to_camera=pose_towards(eye, middle), split=split))
    rng = np.random.default_rng(0)
    xyz = middle + rng.uniform(-0.5, 0.5, (60, 3))
    owners, seen, pixels = [], [], []
    for point in range(60):
        for index, view in enumerate(views):
            if index * groups // len(views) == point % groups:
                camera = view.world_to_camera[:3, :3] @ xyz[point] + view.world_to_camera[:3, 3]
                owners.append(point)
                seen.append(index)
                pixels.append(view.lens.project(camera) + (shift, 0.0))
    starts = np.searchsorted(np.array(owners), np.arange(61))
    tracks = Tracks(starts, np.array(seen), np.array(pixels))
    points = Points(xyz, np.full((60, 3), 128, dtype=np.uint8), None, tracks)
    centers = np.stack([view.center for view in views])
    return Capture(folder, "made by a test", tuple(views), points, unit_frame(centers, xyz), UP)


def all_round(folder: Path) -> Capture:
    return ring(folder, np.linspace(0, 2 * np.pi, COUNT, endpoint=False))


def test_a_good_capture_has_no_problems(tmp_path: Path) -> None:
    found = inspect_capture(all_round(tmp_path))
    assert found.problems == ()
    assert found.facts["photographs with a camera"] == "16 of 16"
    assert found.facts["held out"] == "2 of 16 views: 00.png, 08.png"
    assert found.facts["reprojection error"] == "mean 0.30 px, median 0.30 px, 95 % below 0.30 px"
    assert found.facts["cameras round the middle"].endswith(" of 360 degrees, all around")
    assert found.geometry.gap == pytest.approx(360 / COUNT)
    assert found.geometry.extent == pytest.approx(1.1 * 4, abs=1e-6)


def test_a_photograph_that_is_masked_everywhere_is_neither_blurred_nor_bright(tmp_path: Path) -> None:
    capture = all_round(tmp_path / "photos")
    mask = saved(tmp_path / "masks/03.png", np.zeros((48, 48, 3), dtype=np.uint8))
    views = [replace(view, mask_path=mask) if view.name == "03.png" else view for view in capture.views]
    (problem,) = inspect_capture(replace(capture, views=tuple(views))).problems
    assert problem.startswith("1 photograph masked or transparent everywhere (03.png); check the masks")


def test_cameras_that_look_the_other_way_see_nothing(tmp_path: Path) -> None:
    capture = all_round(tmp_path)
    turn = np.diag([-1.0, 1.0, -1.0, 1.0])
    views = [replace(view, world_to_camera=turn @ view.world_to_camera) for view in capture.views]
    assert "100% of the observations lie behind their camera" in problems(replace(capture, views=tuple(views)))


def test_cameras_look_at_the_middle(tmp_path: Path) -> None:
    np.testing.assert_allclose(looked_at(all_round(tmp_path)), (1, 2, 3), atol=1e-9)


def problems(capture: Capture) -> str:
    found = inspect_capture(capture).problems
    assert len(found) == 1, found
    return found[0]


def test_blurred_and_dark_photographs_are_named(tmp_path: Path) -> None:
    capture = all_round(tmp_path)
    y, x = np.mgrid[0:48, 0:48]
    soft = (131 + 18 * np.sin(x / 9) * np.cos(y / 9)).astype(np.uint8)
    saved(tmp_path / "03.png", np.repeat(soft[..., None], 3, axis=2))
    assert problems(capture).startswith("1 photograph much less sharp than the others (03.png); leave")
    saved(tmp_path / "03.png", 30 + noise(48, 48, 3) // 16)
    assert problems(capture).startswith("1 photograph much brighter or darker than the others (03.png -1.8 stops); fix")
    (tmp_path / "03.png").write_bytes(b"")
    assert problems(capture).startswith("1 photograph not readable, left out of a fit: 03.png: unreadable image: the")


def test_holes_between_cameras_are_said_but_not_one_sided_captures(tmp_path: Path) -> None:
    hole = ring(tmp_path, np.linspace(0, np.radians(230), COUNT))
    assert problems(hole).startswith("no camera stands in 130 of the 360 degrees round the scene")
    found = inspect_capture(hole).geometry
    assert found.gap_middle is not None
    np.testing.assert_allclose(found.gap_middle, (np.cos(np.radians(295)), np.sin(np.radians(295)), 0), atol=1e-6)
    front = inspect_capture(ring(tmp_path, np.linspace(0, np.radians(90), COUNT)))
    assert front.problems == () and front.facts["cameras round the middle"] == "90 of 360 degrees, one side"


def test_large_reprojection_errors_are_said(tmp_path: Path) -> None:
    capture = ring(tmp_path, np.linspace(0, 2 * np.pi, COUNT, endpoint=False), shift=3.0)
    assert "problem" not in problems(capture) and problems(capture).startswith("the reprojection error is 3.0 px")


def test_a_view_with_a_wrong_pose_is_named(tmp_path: Path) -> None:
    capture = all_round(tmp_path)
    wrong = capture.views[5].world_to_camera.copy()
    wrong[0, 3] += 0.5
    views = [replace(view, world_to_camera=wrong) if view.name == "05.png" else view for view in capture.views]
    found = inspect_capture(replace(capture, views=tuple(views))).problems
    assert any(
        "1 view with a reprojection error of more than three times the median (05.png)" in each for each in found
    )


def test_views_that_share_no_points_are_said(tmp_path: Path) -> None:
    capture = ring(tmp_path, np.linspace(0, 2 * np.pi, COUNT, endpoint=False), groups=2)
    assert problems(capture).startswith("the views fall into 2 groups that share no points (8, 8 views)")


def test_points_at_a_camera_and_behind_it(tmp_path: Path) -> None:
    capture = all_round(tmp_path)
    xyz = capture.points.xyz.copy()
    xyz[0] = capture.views[0].center + 0.001
    found = inspect_capture(replace(capture, points=replace(capture.points, xyz=xyz, tracks=None)))
    assert found.problems == ("1 point within a hundredth of the extent of a camera, left out of a fit",)
    behind = replace(capture.points, xyz=capture.points.xyz * (1, 1, 1) + np.array([60.0, 0, 0]))
    said = inspect_capture(replace(capture, points=behind)).problems
    assert any("of the observations lie behind their camera" in each for each in said)


def test_photographs_without_cameras_and_few_views(tmp_path: Path) -> None:
    capture = replace(all_round(tmp_path), unposed=("a.png", "b.png"))
    assert problems(capture).startswith("2 photographs of 18 without a camera (a.png, b.png); take more")
    few = ring(tmp_path, np.linspace(0, 2 * np.pi, 5, endpoint=False))
    assert problems(few).startswith("only 5 views; take at least 12")


def test_a_capture_without_points(tmp_path: Path) -> None:
    capture = replace(all_round(tmp_path), points=Points.none())
    said = "there are no points; a fit starts from random Gaussians, which needs more steps"
    assert problems(capture).startswith(f"{said}; try --start planes")
    transparent = replace(capture, views=tuple(replace(view, has_alpha=True) for view in capture.views))
    assert problems(transparent).startswith(f"{said}; use --start hull")


def test_only_some_photographs_are_looked_at(tmp_path: Path) -> None:
    capture, told = all_round(tmp_path), []
    found = inspect_capture(capture, 4, lambda done, total: told.append((done, total)))
    assert [each.view for each in found.qualities.measured] == [0, 5, 10, 15]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_page_shows_problems_facts_and_photographs(tmp_path: Path) -> None:
    capture = replace(all_round(tmp_path / "photos"), unposed=("<lost>.png",))
    page = write_capture_page(tmp_path / "page.html", inspect_capture(capture)).read_text()
    assert "1 problem found." in page and "&lt;lost&gt;.png" in page
    assert "Plan and side view of 16 cameras and 60 points" in page
    assert page.count("data:image/png") == 9 + 2, "three photographs of three kinds, and the points of both plans"
    assert 'src="http' not in page and "<script" not in page


def lit(folder: Path, gains: np.ndarray) -> Capture:
    """All round, with photographs that are as bright as their gains: a smooth pattern, so that points keep theirs."""
    capture = all_round(folder)
    ramp = np.linspace(60, 90, 48)[:, None, None] + np.zeros((48, 48, 3))
    for view, gain in zip(capture.views, gains, strict=True):
        saved(view.path, np.clip(ramp * gain, 0, 255).astype(np.uint8))
    return capture


def test_changing_light_is_told_from_the_same_points(tmp_path: Path) -> None:
    stops = np.linspace(-0.5, 0.5, COUNT)
    found = inspect_capture(lit(tmp_path / "changing", np.exp2(stops)))
    told = [each for each in found.problems if "--exposure affine" in each and "same points" in each]
    assert len(told) == 1 and found.facts["light of the same points"].startswith("differs by ")
    spread = float(found.facts["light of the same points"].split()[2])
    assert spread == pytest.approx(0.8, abs=0.1)
    steady = inspect_capture(lit(tmp_path / "steady", np.ones(COUNT)))
    assert not any("same points" in each for each in steady.problems)
    assert float(steady.facts["light of the same points"].split()[2]) < 0.1


def test_gains_are_those_of_photographs_and_not_of_what_they_show(tmp_path: Path) -> None:
    """One photograph sees a dark half of the points, another a bright half, under the same light."""
    capture = all_round(tmp_path)
    light = LightOfPoints(capture)
    rng = np.random.default_rng(0)
    brightness = np.where(np.arange(60) < 30, 5.0, 7.0)
    gains = rng.normal(0, 0.3, COUNT)
    for view in range(COUNT):
        points = np.arange(60) if view > 1 else np.arange(30) + 30 * view
        light._points.append(points)
        light._views.append(np.full(len(points), view))
        values = brightness[points] + gains[view] + rng.normal(0, 0.05, len(points))
        values[::10] += 3.0  # points that were found wrongly, or shine
        light._values.append(values)
    np.testing.assert_allclose(light.gains(), gains - np.median(gains), atol=0.06)
