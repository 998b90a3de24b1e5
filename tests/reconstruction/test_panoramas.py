"""Captures of panoramas: read with their poses, fitted as they are, scored by solid angle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from cli.commands import run as run_command
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.captures.inspection import inspect_capture
from splatlearn.core.cameras import Camera, solid_angles
from splatlearn.evaluation.views.scores import score_view
from splatlearn.files import write_splats
from splatlearn.reconstruction import SceneRun, reconstruct
from splatlearn.reconstruction.running.views import target_of
from splatlearn.rendering import render
from splatlearn.report.scenes import panoramas as panoramas_page
from splatlearn.viewer.panorama_page import ViewedPanorama

HEIGHT, WIDTH = 24, 48
QUICK = {"max_gaussians": 90, "evaluate_every": 1000, "degree": 0, "start": "points", "coarse": 0.0}


def panoramas(count: int) -> list[Camera]:
    """Panoramas inside of the cloud of blobs, each turned another way."""
    return [Camera.panorama(HEIGHT, WIDTH, camera.viewmats) for camera in cameras_around(count, distance=0.8)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine panoramas as nerfstudio describes them, two of them held out."""
    folder = write_capture(tmp_path_factory.mktemp("capture") / "photos", known_gaussians(), panoramas(9), points=60)
    content = json.loads((folder / "transforms.json").read_text())
    for name in ("fl_x", "fl_y", "cx", "cy"):
        del content[name]
    (folder / "transforms.json").write_text(json.dumps({**content, "camera_model": "EQUIRECTANGULAR"}))
    return folder


def test_cameras_are_panoramas_in_the_places_of_the_file(photos: Path) -> None:
    capture = load_capture(photos)
    assert capture.problems == ()
    with Photographs(capture.views) as photographs:
        for index, made in enumerate(panoramas(9)):
            photo = photographs[index]
            assert (photo.camera.model, photo.camera.height, photo.camera.width) == ("panorama", HEIGHT, WIDTH)
            torch.testing.assert_close(photo.camera.viewmats, made.viewmats, rtol=0, atol=1e-5)
            want = render(known_gaussians(), photo.camera, "black").color.clamp(0, 1)
            assert float((photo.pixels.permute(2, 0, 1) / 255 - want).abs().max()) < 0.6 / 255 + 1e-4
        assert "undistorted" not in photographs.description
    with Photographs(capture.views, max_size=24) as photographs:
        assert tuple(photographs[0].pixels.shape) == (12, 24, 3) and photographs.camera(0).fx == pytest.approx(
            12 / math.pi
        )


def test_inspection_describes_panoramas(photos: Path) -> None:
    inspection = inspect_capture(load_capture(photos))
    assert inspection.facts["panoramas"] == "9, fitted as they are"
    assert "EQUIRECTANGULAR (9)" in inspection.facts["camera models"]
    assert "cameras round the middle" not in inspection.facts


def test_a_target_weighs_pixels_by_their_solid_angle(photos: Path) -> None:
    with Photographs(load_capture(photos).views) as photographs:
        target = target_of(photographs[0], 2)
    assert target.camera.model == "panorama" and target.weights is not None
    torch.testing.assert_close(target.weights[0, :, 0], solid_angles(target.camera.height))
    assert float(target.weights.mean()) == pytest.approx(1.0)


def test_a_score_weighs_pixels_by_their_solid_angle(photos: Path) -> None:
    """An error in the row of a pole, or in one of the middle."""
    with Photographs(load_capture(photos).views) as photographs:
        photo = photographs[0]
    exact = photo.pixels.permute(2, 0, 1) / 255
    shares = solid_angles(HEIGHT)
    assert float(shares.mean()) == pytest.approx(1.0)
    angles = (torch.arange(HEIGHT) + 0.5) / HEIGHT * math.pi
    torch.testing.assert_close(shares, angles.sin() * math.pi / 2, rtol=2e-3, atol=0)
    for row in (0, HEIGHT // 2):
        spoiled = exact.clone()
        spoiled[:, row] = (spoiled[:, row] + 0.5).remainder(1.0)
        wrong = (spoiled - exact)[:, row].square().mean() * shares[row] / HEIGHT
        assert score_view(photo, spoiled).psnr == pytest.approx(-10 * math.log10(float(wrong)), abs=1e-3)


def test_panoramas_are_fitted(photos: Path, tmp_path: Path) -> None:
    """The held-out panoramas come near to the photographs, from points whose colours alone are known."""
    before = reconstruct(photos, tmp_path / "before", steps=1, **QUICK)
    after = reconstruct(photos, tmp_path / "run", steps=250, **QUICK)
    assert before.scores is not None and after.scores is not None and len(after.scores.views) == 2
    assert after.scores.psnr > before.scores.psnr + 3 and after.scores.psnr > 22
    run = SceneRun(tmp_path / "run")
    assert run.evaluate().psnr == pytest.approx(after.scores.psnr)
    page = tmp_path / "view.html"
    assert run_command("view", tmp_path / "run", "--out", page) == 0
    assert page.stat().st_size > 10_000 and "Panoramas of run" in (tmp_path / "view-panoramas.html").read_text()


def test_pages_of_panoramas_show_the_sky_behind_the_scene(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a red sky, the pictures of the page have the red that the transmittance lets through."""
    reconstruct(photos, tmp_path / "run", steps=1, background="sky", **QUICK)
    written: list[ViewedPanorama] = []
    monkeypatch.setattr(
        panoramas_page, "write_panorama_view", lambda path, name, lead, listed, facts: written.extend(listed)
    )
    Image.new("RGB", (8, 4), (255, 0, 0)).save(tmp_path / "run" / "sky.png")
    run = SceneRun(tmp_path / "run")
    panoramas_page.write_run_panoramas(run, tmp_path / "page.html")
    with Photographs(run.capture.views) as photographs:
        cameras = {view.name: photographs.camera(index) for index, view in enumerate(run.capture.views)}
    for each in written:
        want = render(run.gaussians, cameras[each.name], (1.0, 0.0, 0.0), depth=False).color.clamp(0, 1)
        assert float((each.rendering.permute(2, 0, 1) / 255 - want).abs().max()) < 2.5 / 255
    assert len(written) == 9


def test_panoramas_start_from_random_places(photos: Path, tmp_path: Path) -> None:
    result = reconstruct(photos, tmp_path / "run", steps=2, **{**QUICK, "start": "random", "random_start": 50})
    assert result.count >= 40


def test_render_writes_panoramas(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reconstruct(photos, tmp_path / "run", steps=1, **QUICK)
    assert run_command("render", tmp_path / "run", "--path", "held-out", "--out", tmp_path / "pictures") == 0
    with Image.open(tmp_path / "pictures" / "frame-0000.png") as image:
        assert image.size == (WIDTH, HEIGHT)
    splats = tmp_path / "scene.ply"
    write_splats(splats, known_gaussians())
    arguments = ("--frames", 1, "--size", 40, 20, "--panorama", "--out", tmp_path / "orbit")
    assert run_command("render", splats, *arguments) == 0
    assert capsys.readouterr().out.endswith("orbit: 1 picture of 60 Gaussians\n")
    with Image.open(tmp_path / "orbit" / "frame-0000.png") as image:
        assert image.size == (40, 20)
