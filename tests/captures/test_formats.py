"""The same capture in every format gives the same cameras, pixels and points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captures.colmap_process import ask_pycolmap, needs_pycolmap
from captures.synthetic import (
    LENSES,
    NAMES,
    Synthetic,
    lens_of,
    projections,
    synthetic,
    write_blender,
    write_colmap_binary,
    write_colmap_text,
    write_instant_ngp,
    write_nerfstudio,
    write_photographs,
)
from splatlearn.captures import Capture, Lens, load_capture
from splatlearn.captures.lenses import MODELS
from splatlearn.captures.observations import observation_errors, track_errors

COLMAP: dict[str, Callable[[Path, Synthetic], None]] = {"binary": write_colmap_binary, "text": write_colmap_text}
NERFSTUDIO = ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "EQUIRECTANGULAR")
INSTANT_NGP = ("PINHOLE", "OPENCV", "OPENCV_FISHEYE")


def assert_same(capture: Capture, made: Synthetic, prefix: str = "") -> None:
    """Compare poses, and the pixels of a grid of points seen through the lenses that were read."""
    assert [view.name for view in capture.views] == [prefix + name for name in made.names]
    assert capture.problems == ()
    assert np.abs(capture.world_to_camera - made.poses).max() < 1e-6
    side = np.linspace(-0.5, 0.5, 5)
    grid = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    whole = Synthetic(made.lens, made.names, made.poses, grid, np.zeros((len(grid), 3), np.uint8), np.zeros(0))
    for view, expected in zip(capture.views, projections(whole), strict=True):
        assert (view.lens.width, view.lens.height) == (made.lens.width, made.lens.height)
        seen = grid @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
        assert np.abs(view.lens.project(seen) - expected).max() < 1e-6


def assert_same_points(capture: Capture, made: Synthetic) -> None:
    points = capture.points
    assert points.tracks is not None and points.errors is not None
    assert np.abs(points.xyz - made.xyz).max() < 1e-12 and (points.rgb == made.rgb).all()
    assert (points.tracks.lengths == len(made.names)).all()
    assert np.abs(points.errors - made.errors).max() < 1e-12
    assert np.abs(track_errors(capture) - made.errors).max() < 1e-9
    # Observations belong to the views that saw them.
    owners = points.tracks.points
    assert np.abs(points.tracks.pixels - made.pixels[points.tracks.views, owners]).max() < 1e-12


def test_every_model_is_written() -> None:
    assert set(LENSES) == set(MODELS)


@pytest.mark.parametrize("kind", COLMAP)
@pytest.mark.parametrize("model", LENSES)
def test_colmap(model: str, kind: str, tmp_path: Path) -> None:
    made = synthetic(lens_of(model))
    write_photographs(tmp_path / "images", made.names)
    COLMAP[kind](tmp_path / "sparse" / "0", made)
    capture = load_capture(tmp_path)
    assert capture.layout == f"COLMAP {kind}"
    assert capture.views[0].lens.model == model
    assert_same(capture, made)
    assert_same_points(capture, made)


@pytest.mark.parametrize("model", NERFSTUDIO)
def test_nerfstudio(model: str, tmp_path: Path) -> None:
    made = synthetic(lens_of(model))
    write_photographs(tmp_path / "images", made.names)
    write_nerfstudio(tmp_path, made)
    capture = load_capture(tmp_path)
    assert_same(capture, made, "images/")
    assert np.abs(capture.points.xyz - made.xyz).max() < 1e-12 and (capture.points.rgb == made.rgb).all()
    assert capture.points.tracks is None and capture.points.errors is None


@pytest.mark.parametrize("model", INSTANT_NGP)
def test_instant_ngp(model: str, tmp_path: Path) -> None:
    made = synthetic(lens_of(model))
    write_photographs(tmp_path / "images", made.names)
    write_instant_ngp(tmp_path, made)
    assert_same(load_capture(tmp_path / "transforms.json"), made, "images/")


def test_blender(tmp_path: Path) -> None:
    names = tuple(
        f"{split}/r_{index}.png" for split, n in (("train", 6), ("val", 2), ("test", 2)) for index in range(n)
    )
    made = synthetic(Lens.pinhole(48, 32, 40, 40, 24, 16), names)
    write_photographs(tmp_path, names)
    write_photographs(tmp_path, ("test/r_0_depth_0001.png",))
    write_blender(tmp_path, made)
    capture = load_capture(tmp_path)
    order = sorted(range(len(names)), key=lambda index: names[index])
    ordered = Synthetic(made.lens, tuple(sorted(names)), made.poses[order], made.xyz, made.rgb, made.pixels[order])
    assert_same(capture, ordered)
    assert [view.split for view in capture.views] == [view.name.split("/")[0] for view in capture.views]
    assert len(capture.training) == 6 and len(capture.held_out) == 2


@pytest.mark.parametrize("kind", ["text", "binary"])
@needs_pycolmap
def test_what_colmap_writes(kind: str, tmp_path: Path) -> None:
    """COLMAP's own files, with the rigs and frames of its newer versions, whose sensors have poses of their own."""
    made = synthetic(lens_of("OPENCV"))
    write_photographs(tmp_path / "images", made.names)
    write_colmap_binary(tmp_path / "given", made)
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    write = f"pycolmap.Reconstruction({str(tmp_path / 'given')!r}).write_{kind}({str(model)!r})"
    ask_pycolmap(write, tmp_path)
    assert len(list(model.iterdir())) > 3  # rigs and frames
    capture = load_capture(tmp_path)
    assert capture.layout == f"COLMAP {kind}"
    assert_same(capture, made)
    assert_same_points(capture, made)


@pytest.mark.parametrize("kind", COLMAP)
def test_observations_follow_the_views(kind: str, tmp_path: Path) -> None:
    """Without some of the photographs, and with smaller ones, tracks still meet their points."""
    made = synthetic(lens_of("RADIAL"))
    write_photographs(tmp_path / "images", made.names[2:], (24, 16))
    COLMAP[kind](tmp_path / "sparse", made)
    capture = load_capture(tmp_path)
    assert capture.missing == NAMES[:2] and "have no photograph on disk" in capture.problems[0]
    assert len(capture) == len(NAMES) - 2
    errors = observation_errors(capture)
    expected = np.linalg.norm(made.pixels - projections(made), axis=-1)[2:].T.ravel() / 2
    assert capture.points.tracks is not None
    order = np.lexsort((capture.points.tracks.views, capture.points.tracks.points))
    assert np.abs(errors[order] - expected).max() < 1e-9
