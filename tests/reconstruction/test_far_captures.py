"""Captures in the coordinates of maps, hundreds of kilometres from their origin, lose nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import load_capture
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.files import read_splat_file, read_splats
from splatlearn.reconstruction import SceneResult, SceneRun, reconstruct
from splatlearn.reconstruction.results.scene_run import offset_of

AWAY = (500_000.0, 4_000_000.0, 300.0)
QUICK: dict[str, Any] = {
    "steps": 40, "max_gaussians": 90, "evaluate_every": 40, "checkpoint_every": 40, "degree": 1, "start": "points",
    "coarse": 0.0, "strategy": "default",
}  # fmt: skip


def moved_away(photos: Path, folder: Path) -> Path:
    """A capture whose cameras and points are moved by AWAY; its points are doubles."""
    shutil.copytree(photos, folder)
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"]:
        for axis, shift in enumerate(AWAY):
            frame["transform_matrix"][axis][3] += shift
    (folder / "transforms.json").write_text(json.dumps(content))
    header, _, body = (folder / "points.ply").read_text().partition("end_header\n")
    rows = [line.split() for line in body.splitlines()]
    moved = [[*(f"{float(row[axis]) + AWAY[axis]:.6f}" for axis in range(3)), *row[3:]] for row in rows]
    text = header.replace("float ", "double ") + "end_header\n" + "".join(" ".join(row) + "\n" for row in moved)
    (folder / "points.ply").write_text(text)
    return folder


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> tuple[SceneResult, SceneResult]:
    """The same fit of a capture about its origin, and far away from it."""
    folder = tmp_path_factory.mktemp("far")
    photos = write_capture(folder / "photos", known_gaussians(), cameras_around(9), points=60)
    moved_away(photos, folder / "moved")
    near, far = (reconstruct(folder / name, folder / f"run-{name}", **QUICK) for name in ("photos", "moved"))
    return near, far


def test_a_fit_far_away_is_that_about_the_origin(fits: tuple[SceneResult, SceneResult]) -> None:
    near, far = fits
    assert near.scores is not None and far.scores is not None
    assert far.scores.psnr == pytest.approx(near.scores.psnr, abs=0.02)
    assert near.run.offset == (0, 0, 0) and far.run.offset == AWAY
    assert near.gaussians.count == far.gaussians.count
    # Rounding of cameras to float32 in the unit frame is all that may differ, which steps amplify.
    difference = (far.gaussians.means - near.gaussians.means).abs()
    assert difference.median() < 1e-3 and difference.max() < 0.03
    assert b"\ncomment world offset 500000 4000000 300\n" in (far.folder / "scene.ply").read_bytes()[:400]
    assert far.run.evaluate().psnr == pytest.approx(far.scores.psnr, abs=1e-3)


def test_pictures_far_away_are_those_about_the_origin(fits: tuple[SceneResult, SceneResult], tmp_path: Path) -> None:
    for each in fits:
        assert run("render", each.folder, "--path", "held-out", "--out", tmp_path / each.folder.name) == 0
    for name in ("frame-0000.png", "frame-0001.png"):
        first, second = (np.asarray(Image.open(tmp_path / each.folder.name / name)).astype(int) for each in fits)
        assert np.abs(first - second).max() <= 3 and first.std() > 10


def test_a_run_says_what_its_positions_are_relative_to(fits, tmp_path, capsys) -> None:
    photos = fits[1].folder.with_name("moved")
    reconstruct(photos, tmp_path / "far", **{**QUICK, "steps": 1})
    said = capsys.readouterr().err
    assert "positions in the scene's file are relative to (500000, 4000000, 300), which it says too" in said
    reconstruct(photos.with_name("photos"), tmp_path / "near", **{**QUICK, "steps": 1})
    assert "relative to" not in capsys.readouterr().err
    assert run("inspect", tmp_path / "far" / "scene.ply") in (0, 1)
    assert "relative to (500000, 4000000, 300)" in capsys.readouterr().out


@pytest.mark.parametrize("source", ["run", "scene.ply"])
def test_a_fit_starts_from_a_far_scene(fits: tuple[SceneResult, SceneResult], source: str, tmp_path: Path) -> None:
    far = fits[1].folder
    start = far if source == "run" else far / source
    options = {**QUICK, "start": "auto", "steps": 1, "position_rate": 1e-9, "rate": 1e-6}
    again = reconstruct(far.with_name("moved"), tmp_path / "run", start_from=str(start), **options)
    assert again.scores is not None and fits[1].scores is not None
    assert again.scores.psnr == pytest.approx(fits[1].scores.psnr, abs=0.02)


def test_a_far_scene_is_converted_with_its_offset(fits: tuple[SceneResult, SceneResult], tmp_path, capsys) -> None:
    near, far = (each.folder for each in fits)
    for name in ("a.ply", "a.compressed.ply", "a.spz"):
        assert run("convert", far, tmp_path / name) == 0
    said = capsys.readouterr().err
    assert "positions in a.ply are relative to (500000, 4000000, 300), which the file says too" in said
    # SPZ points y up and z to the back.
    assert "positions in a.spz are relative to (500000, -4000000, -300), which the file has no place for" in said
    for name in ("a.ply", "a.compressed.ply"):
        assert read_splat_file(tmp_path / name).offset == AWAY
        turned = read_splat_file(tmp_path / name, frame="RUB").offset
        assert turned == (AWAY[0], -AWAY[1], -AWAY[2])
    # A box is in the coordinates of the capture, and lengths are scaled with the offset.
    box = [each - 0.2 for each in AWAY] + [each + 0.2 for each in AWAY]
    assert run("convert", far, tmp_path / "b.ply", "--crop", *box, "--scale", "2") == 0
    means = SceneRun(far).gaussians.means
    inside = (means.abs() <= 0.2).all(dim=1)
    found = read_splat_file(tmp_path / "b.ply")
    assert 0 < found.count < len(means)
    torch.testing.assert_close(found.gaussians.means, 2 * means[inside])
    assert found.offset == (1_000_000, 8_000_000, 600)
    # What is merged lies where it was: as far away as the two captures are from each other.
    assert run("convert", tmp_path / "a.ply", tmp_path / "c.ply", "--merge", near) == 0
    both = read_splats(tmp_path / "c.ply").means
    torch.testing.assert_close(both[: len(means)], means)
    expected = SceneRun(near).gaussians.means - torch.tensor(AWAY)
    torch.testing.assert_close(both[len(means) :], expected)


def test_refined_cameras_are_in_the_coordinates_of_the_capture(fits, tmp_path: Path) -> None:
    photos = fits[1].folder.with_name("moved")
    result = reconstruct(photos, tmp_path / "run", **{**QUICK, "steps": 20, "poses": "refined"})
    back = load_capture(tmp_path / "run" / "transforms.json", images=photos)
    np.testing.assert_allclose(back.centers.mean(axis=0), AWAY, atol=1.0)
    assert result.scores is not None
    assert result.run.evaluate().psnr == pytest.approx(result.scores.psnr, abs=1e-3)


def test_offsets_can_be_read_by_people_and_leave_little() -> None:
    middle = np.array([451_234.567, 5_412_345.678, 312.345])
    for extent, expected in ((0.02, (451_234.6, 5_412_345.7, 312.3)), (70.0, (451_200, 5_412_300, 300))):
        frame = Similarity(1.0 / extent, np.eye(3), -middle / extent)
        np.testing.assert_allclose(offset_of(frame), expected, rtol=1e-12)
    assert offset_of(Similarity(1.0 / 70.0, np.eye(3), -np.array([500.0, -300.0, 2.0]) / 70.0)) == (0, 0, 0)
