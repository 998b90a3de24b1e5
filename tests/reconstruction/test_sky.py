"""A reconstruction outdoors: the sky is learned, stored beside the scene, and used by what reads the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.cli import main
from splatlearn.compression import search
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.files import read_splats
from splatlearn.reconstruction import SceneRun, reconstruct
from splatlearn.reconstruction.results.sky_file import read_sky
from splatlearn.rendering import render

OPTIONS: dict[str, Any] = {"steps": 30, "degree": 0, "max_gaussians": 80, "start": "points", "background": "sky"}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def outdoors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs with blue where the object is not, and a run of them."""
    folder = tmp_path_factory.mktemp("outdoors")
    photos = write_capture(folder / "photos", known_gaussians(), cameras_around(9), transparent=True, points=60)
    for path in (photos / "images").iterdir():
        with Image.open(path) as image:
            shown = Image.alpha_composite(Image.new("RGBA", image.size, (90, 140, 230, 255)), image.convert("RGBA"))
        shown.convert("RGB").save(path)
    reconstruct(photos, folder / "run", **OPTIONS)
    return folder


def test_a_run_has_a_sky_that_evaluation_uses(outdoors: Path) -> None:
    found = SceneRun(outdoors / "run")
    assert found.sky is not None and found.scores is not None
    color = found.sky.at(torch.tensor([[-0.82, 0.0, 0.57]])).detach()[0]
    assert float(color[2]) > float(color[1]) > float(color[0])
    assert found.evaluate().psnr == pytest.approx(found.scores["psnr"], abs=0.05)
    plain = reconstruct(outdoors / "photos", outdoors / "plain", **{**OPTIONS, "background": "black"})
    assert plain.scores is not None and found.scores["psnr"] > plain.scores.psnr + 3
    without = plain.run
    assert without.sky is None and without.gaussians_with_sky is without.gaussians


def test_a_resumed_run_learns_the_same_sky(outdoors: Path) -> None:
    reconstruct(outdoors / "photos", outdoors / "parts", stop_after=11, **OPTIONS)
    reconstruct(outdoors / "photos", outdoors / "parts", resume=True)
    assert (outdoors / "parts" / "sky.png").read_bytes() == (outdoors / "run" / "sky.png").read_bytes()


def test_files_get_far_gaussians_and_renderings_the_sky(outdoors: Path, tmp_path: Path, capsys) -> None:
    assert run("convert", str(outdoors / "run"), str(tmp_path / "scene.ply")) == 0
    said = capsys.readouterr()
    assert "the sky of run becomes 1,024 far Gaussians: files of splats have none" in said.err
    count = SceneRun(outdoors / "run").gaussians.count
    written = read_splats(tmp_path / "scene.ply")
    assert written.count == count + 1024 and "left out" not in said.err
    assert run("render", str(outdoors / "run"), "--out", str(tmp_path / "film"), "--path", "held-out") == 0
    with Image.open(tmp_path / "film" / "frame-0000.png") as image:
        corner = image.getpixel((0, 0))
    assert isinstance(corner, tuple) and corner[2] > corner[0] + 30
    assert run("view", str(outdoors / "run"), "--out", str(tmp_path / "page.html")) == 0


def test_compressed_files_get_the_sky(
    outdoors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer files are tried, which takes less time.
    monkeypatch.setattr(search, "SHARES", (1.0,))
    monkeypatch.setattr(search, "TRIES", 3)
    assert run("compress", str(outdoors / "run"), "--out", str(tmp_path / "scene.sl3"), "--budget", "30kB") == 0
    said = capsys.readouterr()
    assert "the sky of run becomes 1,024 far Gaussians: files of splats have none" in said.err
    found, scene = SceneRun(outdoors / "run"), read_splats(tmp_path / "scene.sl3")
    assert f"of {found.gaussians.count + 1024:,} Gaussians" in said.out
    # Rays that miss the object would be black without the sky.
    camera = Camera.pinhole(32, 32, 60.0, torch.from_numpy(found.capture.views[0].world_to_camera))
    corner = render(scene, camera, "black", depth=False).color[:, :6, :6].mean(dim=(1, 2))
    assert float(corner.min()) > 0.3 and float(corner[2]) > float(corner[0])


def test_skies_are_refused_where_there_is_none(outdoors: Path, tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), transparent=True)
    with pytest.raises(InputError, match="background: expected photographs that show a sky, got transparent ones"):
        reconstruct(photos, tmp_path / "run", background="sky", steps=2, degree=0, start="random")
    Image.new("RGB", (9, 9)).save(tmp_path / "sky.png")
    with pytest.raises(FormatError, match=r"sky.png: expected a picture twice as wide as high, got 9 x 9 pixels"):
        read_sky(tmp_path)
