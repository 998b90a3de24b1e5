"""Depth maps of captures: how they are found, decoded, scaled and undistorted, and what tracks say of depths."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captures.pictures import noise, pinhole, saved, seen_through, view_of
from captures.synthetic import WIDTH, lens_of, projections, synthetic, write_colmap_binary, write_photographs
from splatlearn.captures import load_capture
from splatlearn.captures.lenses import Lens
from splatlearn.captures.observations import TrackDepths, observation_errors
from splatlearn.captures.photographs import Photographs
from splatlearn.captures.photographs.depths import decode_depth
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.images.errors import UnreadableImage

MILLIMETRES = np.array([[0, 500, 1000, 65535], [1500, 2000, 0, 3000]], dtype=np.uint16)
METRES = np.array([[0, 0.5, 1.0, 0], [1.5, 2.0, 0, 3.0]], dtype=np.float32)


def png(values: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(values).save(written, "PNG")
    return written.getvalue()


def npy(values: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, values)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        png(MILLIMETRES),
        npy(np.where(MILLIMETRES == 65535, 0, MILLIMETRES).astype(np.uint16)),
        npy(np.where(METRES > 0, 1000 * METRES, np.nan)),
        npy(np.where(METRES > 0, 1000 * METRES.astype(np.float64), -np.inf)[..., None]),
    ],
    ids=["png", "whole numbers", "floats", "one channel"],
)
def test_depths_are_world_units_and_0_where_nothing_was_seen(content: bytes) -> None:
    found = decode_depth(content, "d", 1e-3, (4, 2), (4, 2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, METRES, rtol=1e-6)


def test_depths_of_another_size_are_those_of_the_nearest_pixel() -> None:
    values = np.random.default_rng(0).integers(1, 60000, (48, 64)).astype(np.uint16)
    smaller = decode_depth(png(values), "d", 1.0, (64, 48), (21, 17))
    for row in range(17):
        for column in range(21):
            assert smaller[row, column] == values[int((row + 0.5) * 48 / 17), int((column + 0.5) * 64 / 21)]
    larger = decode_depth(png(values), "d", 1.0, (128, 96), (128, 96))
    np.testing.assert_array_equal(larger, np.kron(values, np.ones((2, 2))))


def test_a_map_is_turned_with_its_photograph() -> None:
    values = np.arange(1, 13, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(decode_depth(png(values), "d", 1.0, (6, 8), (3, 4), 6), np.rot90(values, -1))
    upright = np.rot90(values, -1).copy()
    np.testing.assert_array_equal(decode_depth(png(upright), "d", 1.0, (6, 8), (3, 4), 6), upright)
    np.testing.assert_array_equal(decode_depth(png(values), "d", 1.0, (8, 6), (4, 3), 3), values[::-1, ::-1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (png(noise(4, 2, 0)), "expected a grey picture whose pixels are depths, got one of mode RGB"),
        (npy(np.zeros((2, 2, 3))), r"expected numbers \[H, W\], got float64 of shape \[2, 2, 3\]"),
        (npy(np.array(["a"])), r"expected numbers \[H, W\]"),
        (png(MILLIMETRES)[:-30], "."),
        (b"nonsense", "not an image"),
    ],
)
def test_damaged_maps_are_named(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message) as caught:
        decode_depth(content, "the depth map of a.png", 1.0, (4, 2), (4, 2))
    assert caught.value.name == "the depth map of a.png"


def test_photographs_hand_depths_through_in_the_unit_of_their_frame(tmp_path: Path) -> None:
    depth = tmp_path / "a.depth.png"
    depth.write_bytes(png(np.kron(MILLIMETRES, np.ones((4, 4), dtype=np.uint16))))
    path = saved(tmp_path / "a.png", noise(16, 8, 1))
    view = view_of(path, pinhole(16, 8), depth_path=depth, depth_unit=1e-3)
    with Photographs([view], 8, frame=Similarity(scale=0.5), depth=True, workers=1) as photographs:
        assert photographs.all_bytes == 7 * 4 * 8
        found = photographs[0].depth
        assert found is not None and photographs.held_bytes == photographs[0].nbytes == 7 * 4 * 8
        np.testing.assert_allclose(found, 0.5 * np.kron(METRES, np.ones((2, 2))), rtol=1e-6)
        assert photographs[0].depth is found
    with Photographs([view], 8, workers=1) as photographs:
        assert photographs[0].depth is None
    depth.unlink()
    with Photographs([view], 8, depth=True, workers=1) as photographs:
        with pytest.raises(UnreadableImage, match="the file does not exist") as caught:
            photographs[0]
        assert caught.value.name == "the depth map a.depth.png of a.png"


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_undistorted_depths_are_those_of_the_pinholes_rays(model: str, tmp_path: Path) -> None:
    """A slanted plane, whose depth along the axis is a function of direction, and a hole in it."""
    lens = Lens(model, 96, 64, (80, 84, 46, 34, *lens_of(model).params[4:]))

    def depths(rays: np.ndarray) -> np.ndarray:
        x, y = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
        return np.where(x * x + y * y < 0.01, 0.0, 4.0 / (1.0 + 0.3 * x - 0.2 * y))

    columns, rows = np.meshgrid(np.arange(96) + 0.5, np.arange(64) + 0.5)
    stored = depths(lens.unproject(np.stack([columns, rows], axis=-1)))
    np.save(tmp_path / "a.npy", stored)
    path = saved(tmp_path / "a.png", seen_through(lens, lambda rays: 100 + 50 * rays))
    view = view_of(path, lens, depth_path=tmp_path / "a.npy")
    with Photographs([view], None, depth=True, cache=False, workers=1) as photographs:
        photo = photographs[0]
    assert photo.depth is not None
    rows_there, columns_there = torch.meshgrid(
        torch.arange(photo.camera.height) + 0.5, torch.arange(photo.camera.width) + 0.5, indexing="ij"
    )
    slopes = ((columns_there - photo.camera.cx) / photo.camera.fx, (rows_there - photo.camera.cy) / photo.camera.fy)
    wanted = depths(torch.stack([*slopes, torch.ones_like(slopes[0])], dim=-1).numpy())
    errors = np.abs(photo.depth.numpy() - wanted) / 4.0
    # Half a pixel of slope, but at the border of the hole, where a pixel has one or the other.
    both = (photo.depth.numpy() > 0) & (wanted > 0)
    assert (
        errors[both].max() < 1e-2
        and np.median(errors[both]) < 3e-3
        and ((photo.depth.numpy() > 0) != (wanted > 0)).mean() < 0.01
    )
    assert (photo.depth.numpy() == 0).sum() > 50


def rgbd(folder: Path, layout: str) -> Path:
    lines = "\n".join(" ".join(str(value) for value in row) for row in np.diag([20.0, 20.0, 1.0]))
    for number in range(3):
        name = f"{number:06d}"
        places = {
            "folders": (f"color/{name}.png", f"depth/{name}.png", f"pose/{name}.txt"),
            "flat": (f"frame-{name}.color.png", f"frame-{name}.depth.png", f"frame-{name}.pose.txt"),
        }[layout]
        saved(folder / places[0], noise(16, 8, number))
        if number:
            saved(folder / places[1], MILLIMETRES)
        pose = np.eye(4)
        pose[0, 3] = number
        (folder / places[2]).parent.mkdir(exist_ok=True)
        (folder / places[2]).write_text("\n".join(" ".join(str(value) for value in row) for row in pose))
    (folder / "intrinsics.txt").write_text(lines)
    return folder


@pytest.mark.parametrize("layout", ["folders", "flat"])
def test_maps_of_depth_cameras_are_found(layout: str, tmp_path: Path) -> None:
    capture = load_capture(rgbd(tmp_path, layout))
    assert len(capture) == 3 and not any("epth" in problem for problem in capture.problems)
    first, *others = capture.views
    assert first.depth_path is None
    for view in others:
        assert view.depth_path is not None and view.depth_path.is_file() and view.depth_unit == 1e-3
        assert view.depth_path.name.replace("depth", "color") == view.path.name


@pytest.mark.parametrize(
    ("key", "unit", "stated", "wanted"),
    [
        ("depth_file_path", "depth_unit_scale_factor", None, 1e-3),
        ("depth_file_path", "depth_unit_scale_factor", 0.25, 0.25),
        ("depth_path", "integer_depth_scale", 2e-4, 2e-4),
    ],
)
def test_maps_of_transforms_are_found(key: str, unit: str, stated: float | None, wanted: float, tmp_path: Path) -> None:
    frames = []
    for number in range(3):
        saved(tmp_path / f"images/{number}.png", noise(16, 8, number))
        saved(tmp_path / f"depths/{number}.png", MILLIMETRES)
        pose = np.eye(4)
        pose[0, 3] = number
        name = f"depths/{number}.png" if number < 2 else "depths/gone.tiff"
        frames.append({"file_path": f"images/{number}.png", "transform_matrix": pose.tolist(), key: name})
    content = {"fl_x": 20, "w": 16, "h": 8, "frames": frames, **({} if stated is None else {unit: stated})}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    capture = load_capture(tmp_path)
    assert [view.depth_path for view in capture.views] == [tmp_path / "depths/0.png", tmp_path / "depths/1.png", None]
    assert capture.views[0].depth_unit == wanted
    assert "Depth maps that frames name are not there (1): depths/gone.tiff." in capture.problems


@pytest.mark.parametrize("model", ["PINHOLE", "OPENCV"])
def test_tracks_say_depths_of_their_points(model: str, tmp_path: Path) -> None:
    made = synthetic(lens_of(model))
    write_photographs(tmp_path / "images", made.names)
    write_colmap_binary(tmp_path / "sparse/0", made)
    capture = load_capture(tmp_path)
    tracks = capture.points.tracks
    assert tracks is not None
    depths = TrackDepths(capture)
    target = Lens.pinhole(WIDTH, 32, 40.0, 40.0, 24.0, 16.0)
    errors = observation_errors(capture)
    mean = errors[np.isfinite(errors)].mean()
    for index, view in enumerate(capture.views):
        found = depths.of(index, target)
        chosen = np.flatnonzero(tracks.views == index)
        seen = capture.points.xyz[tracks.points[chosen]] @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
        wanted = np.exp(-np.square(errors[chosen] / mean)) * (1 - 1 / tracks.lengths[tracks.points[chosen]])
        counts = (seen[:, 2] > 0) & (wanted > 0)
        assert len(found) == counts.sum() > 5
        np.testing.assert_allclose(found.depths, seen[counts, 2])
        np.testing.assert_allclose(found.weights, wanted[counts], rtol=1e-9)
        # Observations have noise of half a pixel.
        assert np.median(np.abs(found.pixels - target.project(seen[counts]))) < 0.6
    exact = replace(made, pixels=projections(made))
    write_photographs(tmp_path / "exact/images", exact.names)
    write_colmap_binary(tmp_path / "exact/sparse/0", exact)
    depths = TrackDepths(load_capture(tmp_path / "exact"))
    for index, pose in enumerate(depths.capture.world_to_camera):
        seen = depths.capture.points.xyz @ pose[:3, :3].T + pose[:3, 3]
        wanted = target.project(seen)
        for pixel, depth in zip(depths.of(index, target).pixels, depths.of(index, target).depths, strict=True):
            assert np.abs(wanted[np.abs(seen[:, 2] - depth).argmin()] - pixel).max() < 1e-3
    assert len(TrackDepths(load_capture(rgbd(tmp_path / "other", "folders"))).of(0)) == 0
