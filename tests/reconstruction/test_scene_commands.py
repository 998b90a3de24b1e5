"""`splatlearn render` and `splatlearn convert`: scenes of files and runs as pictures and as other files."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.cli import main
from splatlearn.core.cameras.paths import middle_and_radius, orbit
from splatlearn.files import read_splat_file, read_splats, write_splats
from splatlearn.reconstruction import SceneRun, reconstruct
from splatlearn.rendering import render


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def scene_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    photos = write_capture(folder / "photos", known_gaussians(), cameras_around(9), points=60)
    reconstruct(photos, folder / "run", steps=4, max_gaussians=70, start="points", degree=1)
    return folder / "run"


def pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_an_orbit_is_rendered_from_all_sides(tmp_path: Path, capsys) -> None:
    gaussians = known_gaussians()
    write_splats(tmp_path / "scene.ply", gaussians)
    out = tmp_path / "film"
    assert run("render", str(tmp_path / "scene.ply"), "--out", str(out), "--frames", "4", "--size", "48", "36") == 0
    assert capsys.readouterr().out == f"{out}: 4 pictures of 60 Gaussians\n"
    stored = read_splats(tmp_path / "scene.ply")
    for number, camera in enumerate(orbit(*middle_and_radius(stored.means, stored.opacities), 4, 36, 48)):
        expected = render(stored, camera, "black").color.clamp(0, 1)
        torch.testing.assert_close(pixels(out / f"frame-{number:04d}.png"), expected, atol=0.6 / 255, rtol=0)


def test_a_file_that_is_antialiased_is_rendered_with_its_filter(tmp_path: Path) -> None:
    known = known_gaussians()
    write_splats(tmp_path / "scene.ply", replace(known, scales=0.1 * known.scales), antialiased=True)
    stored = read_splats(tmp_path / "scene.ply")
    camera = orbit(*middle_and_radius(stored.means, stored.opacities), 1, 36, 48)[0]
    expected = render(stored, camera, "black", filter="mip").color.clamp(0, 1)
    assert float((render(stored, camera, "black").color - expected).abs().max()) > 0.05
    arguments = ("--out", str(tmp_path / "film"), "--frames", "1", "--size", "48", "36")
    assert run("render", str(tmp_path / "scene.ply"), *arguments) == 0
    torch.testing.assert_close(pixels(tmp_path / "film" / "frame-0000.png"), expected, atol=0.6 / 255, rtol=0)
    assert run("inspect", str(tmp_path / "scene.ply"), "--out", str(tmp_path / "front.png")) == 0
    front = pixels(tmp_path / "front.png")
    large = orbit(*middle_and_radius(stored.means, stored.opacities), 1, front.shape[1], front.shape[2])[0]
    expected = render(stored, large, "white", filter="mip").color.clamp(0, 1)
    torch.testing.assert_close(front, expected, atol=0.6 / 255, rtol=0)


def test_an_orbit_looks_at_the_middle_from_one_height() -> None:
    gaussians = known_gaussians()
    up = (0.3, 0.2, 0.9)
    middle, radius = middle_and_radius(gaussians.means, gaussians.opacities)
    cameras = orbit(middle, radius, 8, 30, 40, up)
    axis = torch.nn.functional.normalize(torch.tensor(up, dtype=torch.float64), dim=0)
    heights, places = [], []
    for camera in cameras:
        seen = camera.viewmats[:3, :3].double() @ middle + camera.viewmats[:3, 3].double()
        torch.testing.assert_close(seen[:2], torch.zeros(2, dtype=torch.float64), atol=1e-5, rtol=0)
        away = camera.centers.double() - middle
        assert float(away.norm()) == pytest.approx(2.5 * radius, rel=1e-4)
        heights.append(float(away @ axis))
        places.append(away)
        # The picture's vertical lies in the plane of the axis: the horizon is level.
        assert float(camera.viewmats[0, :3].double() @ axis) == pytest.approx(0, abs=1e-6)
        assert float(camera.viewmats[1, :3].double() @ axis) < 0
    assert heights == pytest.approx([heights[0]] * 8, rel=1e-4) and heights[0] > 0
    torch.testing.assert_close(sum(places[1:], places[0]), 8 * heights[0] * axis, atol=1e-4, rtol=0)


def test_the_cameras_of_a_run(scene_run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "pictures"
    assert run("render", str(scene_run), "--out", str(out), "--path", "held-out") == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 pictures")
    expected = render(read_splats(scene_run / "scene.ply"), cameras_around(9)[8], "black").color.clamp(0, 1)
    torch.testing.assert_close(pixels(out / "frame-0001.png"), expected, atol=2 / 255, rtol=0)
    assert run("render", str(scene_run), "--out", str(out), "--path", "photographs") != 0
    assert "overwrite" in capsys.readouterr().err
    assert run("render", str(scene_run), "--out", str(out), "--path", "photographs", "--overwrite") == 0
    assert len(list(out.glob("frame-*.png"))) == 9


def test_the_background_follows_the_run(scene_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(scene_run, copy)
    recipe = json.loads((copy / "recipe.json").read_text())
    recipe["scene"]["background"] = "white"
    (copy / "recipe.json").write_text(json.dumps(recipe))
    gaussians, camera = read_splats(copy / "scene.ply"), cameras_around(9)[8]
    for chosen, color in (("auto", "white"), ("black", "black")):
        out = tmp_path / chosen
        assert run("render", str(copy), "--out", str(out), "--path", "held-out", "--background", chosen) == 0
        expected = render(gaussians, camera, color).color.clamp(0, 1)
        torch.testing.assert_close(pixels(out / "frame-0001.png"), expected, atol=2 / 255, rtol=0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_film_has_the_pictures_of_its_call(scene_run: Path, tmp_path: Path) -> None:
    arguments = ["render", str(scene_run), "--out", str(tmp_path / "film"), "--size", "33", "21", "--film"]
    for frames in (5, 3):
        # Pictures of a longer orbit stay in the folder, and out of the film.
        assert run(*arguments, "--frames", str(frames), "--overwrite") == 0
        probe = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,width,height"]
        found = subprocess.run(
            [*probe, "-of", "csv=p=0", str(tmp_path / "film" / "film.mp4")], capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == f"32,20,{frames}"


def test_a_film_without_ffmpeg_is_refused_before_anything_is_rendered(scene_run, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("render", str(scene_run), "--out", str(tmp_path / "film"), "--film") != 0
    assert "expected the program ffmpeg" in capsys.readouterr().err
    assert not (tmp_path / "film").exists()


def test_a_run_is_evaluated_anew(scene_run: Path, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "run"
    shutil.copytree(scene_run, mine)
    before = json.loads((mine / "scores.json").read_text())
    (mine / "scores.json").unlink()
    assert run("evaluate", str(mine), "--batch-size", "3") == 0
    captured = capsys.readouterr()
    assert "--batch-size has no effect on a reconstruction" in captured.err
    after = json.loads((mine / "scores.json").read_text())
    assert after["psnr"] == pytest.approx(before["psnr"], abs=1e-3)
    assert [each["name"] for each in after["views"]] == ["images/photo-000.png", "images/photo-008.png"]
    rows = captured.out.splitlines()
    assert rows[0].split() == ["photograph", "PSNR", "SSIM", "L1"]
    assert rows[3].split() == ["mean", f"{after['psnr']:.2f}", f"{after['ssim']:.3f}", f"{after['l1']:.4f}"]
    worst = min(after["views"], key=lambda each: each["psnr"])
    assert rows[4].startswith(f"after an affine alignment of each view's colours: {after['aligned_psnr']:.2f} dB")
    assert rows[5].startswith(f"done: {mine / 'scores.json'}; worst: {worst['name']}")
    assert SceneRun(mine).evaluate().psnr == pytest.approx(after["psnr"])


def test_a_run_that_holds_none_out_is_not_evaluated(tmp_path: Path, capsys) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(5))
    reconstruct(photos, tmp_path / "run", steps=2, max_gaussians=40, hold_out=0)
    capsys.readouterr()
    assert run("evaluate", str(tmp_path / "run")) != 0
    assert "expected photographs that were held out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["small.spz", "small.sog", "small.compressed.ply", "folder/small.ply"])
def test_a_run_becomes_a_file_of_any_format(name: str, scene_run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / name
    assert run("convert", str(scene_run), str(out)) == 0
    scene = read_splats(scene_run / "scene.ply")
    assert capsys.readouterr().out.startswith(f"{out}: {scene.count} Gaussians, degree {scene.degree}, ")
    found = read_splats(out)
    assert found.count == scene.count
    camera = cameras_around(9)[0]
    first, second = (render(each, camera).color for each in (scene, found))
    assert float((first - second).abs().mean()) < 0.02


def test_a_file_that_is_antialiased_stays_so(tmp_path: Path) -> None:
    write_splats(tmp_path / "scene.spz", known_gaussians(), antialiased=True)
    for name in ("again.spz", "again.sog"):
        assert run("convert", str(tmp_path / "scene.spz"), str(tmp_path / name)) == 0
        assert read_splat_file(tmp_path / name).antialiased


def test_fewer_harmonics_and_faint_gaussians(tmp_path: Path, capsys) -> None:
    gaussians = known_gaussians().with_degree(2)
    write_splats(tmp_path / "scene.ply", gaussians)
    out = str(tmp_path / "less.ply")
    assert run("convert", str(tmp_path / "scene.ply"), out, "--degree", "1", "--min-opacity", "0.8") == 0
    found = read_splats(out)
    assert found.degree == 1
    assert found.count == int((gaussians.opacities >= 0.8).sum())
    assert run("convert", str(tmp_path / "scene.ply"), out, "--min-opacity", "0.8") != 0
    assert "overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("render", "photo.jpg", "--out", "x"), "scene: expected a splat file or a run of splatlearn reconstruct"),
        (("convert", "none.ply", "x.spz"), "none.ply"),
        (("convert", "scene.ply", "x.jpg"), "x.jpg"),
        (("convert", "scene.ply", "x.spz", "--degree", "9"), "degree: expected 0 to 4, got 9"),
        (("convert", "scene.ply", "scene.ply", "--overwrite"), "is an input of this command"),
        (("render", "scene.ply", "--out", "x", "--path", "held-out"), "expected orbit for a splat file"),
        (("render", "scene.ply", "--out", "x", "--frames", "0"), "frames, size: expected numbers above 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, said, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_splats("scene.ply", known_gaussians())
    assert run(*arguments) != 0
    captured = capsys.readouterr().err
    assert said in captured and captured.count("\n") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["scene.ply"]
