"""The captures of the shared data folder: all of them load, and their tracks have the errors that COLMAP stored."""

from pathlib import Path

import numpy as np
import pytest

from splatlearn.captures import Capture, load_capture
from splatlearn.captures.observations import observation_errors, track_errors

DATA = next(
    (each / "shared" / "data" for each in Path(__file__).resolve().parents if (each / "shared").is_dir()), Path()
)
SAMPLES = {
    "bonsai360": (98, 13, 20643),
    "fox": (50, 7, 7848),
    "castle_colmap": (11, 2, 7862),
    "dtu_scan65": (49, 7, 2462),
    "scenes3d/plush_multiview": (97, 13, 25784),
    "scenes3d/nerf_lego200": (150, 50, 0),
    "nerf_chair200": (150, 50, 0),
    "rgbd_7scenes": (40, 5, 0),
    "dynamic200/collision": (129, 21, 0),
    "dynamic200/occlusion": (102, 18, 0),
    "dynamic200/deformation": (153, 27, 0),
    "dynamic200/texture": (129, 21, 0),
}
"""Folder to the numbers of views, of views held out, and of points."""
TRACKS = ("bonsai360", "fox", "castle_colmap", "dtu_scan65")


def sample(name: str) -> Capture:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not there")
    return load_capture(DATA / name)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_load(name: str) -> None:
    capture = sample(name)
    views, held_out, points = SAMPLES[name]
    assert (len(capture), len(capture.held_out), len(capture.points)) == (views, held_out, points)
    assert len(capture.training) == views - held_out
    assert all("different times" in problem for problem in capture.problems)
    assert [view.name for view in capture.views] == sorted(view.name for view in capture.views)
    turns = capture.world_to_camera[:, :3, :3]
    assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    # The farthest camera is where the unit frame puts it.
    placed = capture.to_unit.points(capture.centers)
    assert np.linalg.norm(placed, axis=-1).max() == pytest.approx(1 / 1.1)
    assert np.abs(placed.mean(axis=0)).max() < 1e-9


@pytest.mark.parametrize("name", TRACKS)
def test_errors_are_those_that_colmap_stored(name: str) -> None:
    capture = sample(name)
    assert capture.points.errors is not None
    errors = observation_errors(capture)
    assert np.isfinite(errors).all()
    assert np.abs(track_errors(capture) - capture.points.errors).max() < 1e-3


def test_transforms_and_colmap_agree() -> None:
    colmap = sample("fox")
    transforms = load_capture(colmap.folder, layout="transforms")
    assert [view.name for view in transforms.views] == [f"images/{view.name}" for view in colmap.views]
    assert np.abs(transforms.world_to_camera - colmap.world_to_camera).max() < 1e-5
    assert transforms.views[0].lens == colmap.views[0].lens


@pytest.mark.parametrize(
    ("name", "up"), [("fox", (0, 0, 1)), ("scenes3d/nerf_lego200", (0, 0, 1)), ("castle_colmap", (0, -1, 0))]
)
def test_up_is_away_from_the_ground(name: str, up: tuple[float, float, float]) -> None:
    assert sample(name).up @ np.array(up) > 0.97


def test_masks_of_a_sample() -> None:
    capture = sample("dtu_scan65")
    assert all(view.mask_path is not None and view.mask_path.stem == Path(view.name).stem for view in capture.views)


def test_alpha_of_a_sample() -> None:
    assert all(view.has_alpha for view in sample("nerf_chair200").views)
    assert not any(view.has_alpha for view in sample("fox").views)
