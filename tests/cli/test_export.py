from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from files.clouds import psnr
from models.small_models import small_gmae, small_mae
from splatlearn.files import SplatFormat, read_splats, to_pinhole
from splatlearn.models import save_model
from splatlearn.rendering import render


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "leaf.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(small_gmae(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("to", "ending", "lowest"),
    [("ply", ".ply", 90), ("compressed-ply", ".compressed.ply", 45), ("spz", ".spz", 40), ("sog", ".sog", 45)],
)
def test_the_file_shows_the_model_s_picture(
    to: SplatFormat, ending: str, lowest: float, folder: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"new/leaf{ending}"
    assert run("export", str(folder), str(photo), "--to", to, "--out", str(out), "--eps2d", "0") == 0
    cloud = read_splats(out)
    # The photograph is 3 : 2 as the model's image is: nothing is cut off.
    pixels = np.asarray(Image.open(photo).resize((24, 16), Image.Resampling.BICUBIC))
    images = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().unsqueeze(0) / 255
    model = small_gmae()
    camera = model.camera(16, 24)
    with torch.no_grad():
        gaussians = model.gaussians(images)[0]
    _, pinhole = to_pinhole(gaussians, camera)
    shown = render(cloud, pinhole).color
    assert psnr(shown, render(gaussians, camera).color) > lowest


def test_by_default_the_file_lies_here_and_is_blurred(
    folder: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("export", str(folder), str(photo), "--to", "ply") == 0
    text = capsys.readouterr().out
    assert "leaf.ply: 12 Gaussians" in text and "at (0, 0, -8)" in text and "background white" in text
    # Half of the height, 8 px, under a focal length of 8 times half of the width.
    assert "vertical field of view of 9.5°" in text
    blurred = read_splats(tmp_path / "leaf.ply")
    assert run("export", str(folder), str(photo), "--to", "ply", "--eps2d", "0", "--overwrite") == 0
    sharp = read_splats(tmp_path / "leaf.ply")
    torch.testing.assert_close(blurred.means, sharp.means)
    assert (blurred.scales.prod(-1) > sharp.scales.prod(-1)).all()


def test_wrong_input_is_one_sentence(
    folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(small_mae(), tmp_path / "mae")
    out = tmp_path / "leaf.ply"
    out.write_bytes(b"precious")
    for arguments, message in [
        ((str(folder), str(photo), "--to", "ply", "--out", str(out)), "leaf.ply exists; choose another with --out"),
        ((str(folder), "--to", "spz"), "image: expected a photograph, whose Gaussians are written as spz, got none"),
        ((str(folder), str(tmp_path / "no.png"), "--to", "spz"), "no.png: unreadable image: the file does not exist"),
        ((str(tmp_path / "mae"), str(photo), "--to", "spz"), "run: expected a GMAE, which predicts Gaussians"),
        ((str(tmp_path / "none"), str(photo), "--to", "spz"), "none"),
        (
            (str(folder), str(photo), "--to", "spz", "--eps2d", "-1", "--out", str(tmp_path / "b.spz")),
            "eps2d: expected",
        ),
    ]:
        assert run("export", *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and "Traceback" not in error
    assert out.read_bytes() == b"precious" and not (tmp_path / "b.spz").exists()
    assert run("export", str(folder), str(photo), "--to", "obj") == 2
