"""Malformed captures of every format give a named error or a sound capture, and never take much memory.

SPLATLEARN_MUTATIONS is the number of mutations of each format that are tried (300 by default).
"""

import os
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from captures.mutations import change, change_archive
from captures.synthetic import (
    lens_of,
    synthetic,
    write_blender,
    write_colmap_binary,
    write_colmap_text,
    write_instant_ngp,
    write_nerfstudio,
    write_photographs,
)
from splatlearn.captures import Capture, Lens, load_capture
from splatlearn.core.errors import FormatError, InputError, SplatlearnError

MUTATIONS = int(os.environ.get("SPLATLEARN_MUTATIONS", "300"))
MOST_MEMORY = 50_000_000
KINDS = ("COLMAP binary", "COLMAP text", "nerfstudio", "instant-ngp", "Blender", "depth camera", "zip")
PICTURES = tuple(f"{index}.png" for index in range(9))


def good_capture(kind: str, folder: Path) -> list[Path]:
    """Write a capture, and return the files that say what is in it."""
    model = "PINHOLE" if kind in ("Blender", "depth camera") else "OPENCV"
    lens = Lens.pinhole(48, 32, 40, 40, 24, 16) if model == "PINHOLE" else lens_of(model)
    made = synthetic(lens, PICTURES, count=5)
    root = {"Blender": ".", "depth camera": "color"}.get(kind, "images")
    write_photographs(folder / root, PICTURES)
    match kind:
        case "COLMAP binary" | "zip":
            write_colmap_binary(folder / "sparse" / "0", made)
        case "COLMAP text":
            write_colmap_text(folder / "sparse" / "0", made)
        case "nerfstudio":
            write_nerfstudio(folder, made)
        case "instant-ngp":
            write_instant_ngp(folder, made)
        case "Blender":
            write_blender(folder, made)
        case _:
            (folder / "pose").mkdir()
            (folder / "intrinsics.txt").write_text("40 0 24\n0 40 16\n0 0 1\n")
            for name, pose in zip(PICTURES, np.linalg.inv(made.poses), strict=True):
                np.savetxt(folder / "pose" / f"{Path(name).stem}.txt", pose)
    if kind == "zip":
        archive = folder.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
        return [archive]
    return sorted(path for path in folder.rglob("*") if path.suffix in (".bin", ".txt", ".json", ".ply"))


def assert_sound(capture: Capture, folder: Path) -> None:
    assert capture.views and len({view.name for view in capture.views}) == len(capture.views)
    turns = capture.world_to_camera[:, :3, :3]
    assert np.isfinite(capture.world_to_camera).all()
    assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-9 and (np.linalg.det(turns) > 0).all()
    for view in capture.views:
        assert view.path.is_file() and view.path.resolve().is_relative_to(folder.resolve())
        assert view.lens.fx > 0 and view.lens.fy > 0 and np.isfinite(view.lens.params).all()
        assert view.lens.width == 48 and view.lens.height == 32
    points = capture.points
    assert np.isfinite(points.xyz).all() and len(points.rgb) == len(points)
    if points.tracks is not None:
        tracks = points.tracks
        assert len(tracks.starts) == len(points) + 1 and tracks.starts[-1] == len(tracks.views) == len(tracks.pixels)
        assert (np.diff(tracks.starts) >= 0).all() and ((tracks.views >= 0) & (tracks.views < len(capture.views))).all()
    assert abs(np.linalg.norm(capture.up) - 1) < 1e-9
    assert 0 < capture.to_unit.scale < np.inf and np.isfinite(capture.to_unit.points(capture.centers)).all()
    for problem in capture.problems:
        assert problem.endswith(".") and problem.isprintable(), problem


@pytest.mark.parametrize("kind", KINDS)
def test_mutations(kind: str, tmp_path: Path) -> None:
    folder, cache = tmp_path / "good", tmp_path / "cache"
    files = good_capture(kind, folder)
    given, inside = (files[0], cache) if kind == "zip" else (folder, folder)
    assert_sound(load_capture(given, cache=cache), inside)
    contents = {path: path.read_bytes() for path in files}
    rng = np.random.default_rng(KINDS.index(kind))
    errors = told = 0
    for number in range(MUTATIONS):
        path = files[int(rng.integers(len(files)))]
        good = contents[path]
        path.write_bytes(change_archive(good, rng) if kind == "zip" else change(good, path.suffix, rng))
        tracemalloc.start()
        try:
            capture = load_capture(given, cache=cache)
            assert_sound(capture, inside)
            told += bool(capture.problems)
        except SplatlearnError as error:
            # A table that is missing altogether makes a folder that is no capture.
            assert isinstance(error, FormatError | InputError), number
            errors += 1
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MOST_MEMORY, (number, peak)
        path.write_bytes(good)
        shutil.rmtree(cache, ignore_errors=True)
    # Most of what is broken is seen to be; a changed coordinate is not.
    assert errors + told > MUTATIONS // 3


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(kind: str, tmp_path: Path) -> None:
    """Every file, cut at any byte: an error, or a capture without what was cut off."""
    files = good_capture(kind, tmp_path / "good")
    given = files[0] if kind == "zip" else tmp_path / "good"
    share = max(1, MUTATIONS // (3 * len(files)))
    for path in files:
        good = path.read_bytes()
        for length in sorted({0, 1, 7, 8, 9, len(good) - 1, *range(0, len(good), max(1, len(good) // share))}):
            path.write_bytes(good[: max(0, length)])
            try:
                assert_sound(load_capture(given, cache=tmp_path / "cache"), tmp_path)
            except (FormatError, InputError):
                continue
            assert path.suffix in (".txt", ".ply"), (path.name, length)
        path.write_bytes(good)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("count", [2**63, 2**64 - 1, 2**40, 10**6])
def test_hostile_counts(name: str, count: int, tmp_path: Path) -> None:
    good_capture("COLMAP binary", tmp_path / "good")
    path = tmp_path / "good" / "sparse" / "0" / f"{name}.bin"
    path.write_bytes(struct.pack("<Q", count) + path.read_bytes()[8:])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=rf"{name}\.bin: expected {count:,}"):
            load_capture(tmp_path / "good")
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
