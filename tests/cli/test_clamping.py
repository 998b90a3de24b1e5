"""What export and layers say about clamped colours is what their files lose."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from models.out_of_bounds import vivid_gmae
from models.small_models import small_gmae
from photos import noise_photos
from rendering.brute_force import composite_brute_force
from splatlearn.cli.clamping import to_write
from splatlearn.cli.fitted import write_fit
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.ply.container import parse_ply
from splatlearn.files import SplatFormat, read_splats, to_pinhole
from splatlearn.models import save_model
from splatlearn.rendering import project, render, seen_by
from splatlearn.zero_shot import ImageGaussians, gaussians_of

FIGURE = r"up to (\d\.\d{3}) \(PSNR (\d+\.\d) dB\)"


def stated(text: str) -> list[tuple[float, float]]:
    """The largest errors and PSNRs that a text names, in its order."""
    return [(float(largest), float(psnr)) for largest, psnr in re.findall(FIGURE, text)]


def measured(shown: torch.Tensor, picture: torch.Tensor) -> tuple[float, float]:
    difference = (shown.double().clamp(0, 1) - picture.double().clamp(0, 1)).abs()
    return float(difference.max()), float(-10 * difference.square().mean().log10())


def brute_force(gaussians: Gaussians, camera, background) -> torch.Tensor:
    splats = project(gaussians.to(torch.float64).reshape_batch(1), camera)
    color, _ = composite_brute_force(splats, camera.height, camera.width, list(map(float, background.reshape(-1))))
    return color[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose colours leave [0, 1], and photographs of its size."""
    folder = tmp_path_factory.mktemp("vivid") / "photos"
    noise_photos(folder, {"leaf.png": (16, 24), "stone.png": (16, 24)})
    save_model(vivid_gmae(), folder / "model")
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> ImageGaussians:
    """What the model sees in leaf.png."""
    pixels = np.asarray(Image.open(folder / "leaf.png"))
    return gaussians_of(vivid_gmae(), torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255)


def export(folder: Path, out: Path, *arguments: str) -> int:
    return run("export", str(folder / "model"), str(folder / "leaf.png"), "--eps2d", "0", "--out", str(out), *arguments)


def test_an_export_states_what_viewers_of_the_file_lose(
    folder: Path, read: ImageGaussians, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "leaf.ply"
    assert export(folder, out, "--to", "ply") == 0
    text = capsys.readouterr().out
    assert "shows the model's picture in a window of the same size as its 24 × 16 px, but for colours. Viewers" in text
    above, in_bytes = stated(text)
    # The file is read, its colours are computed and clamped, and pixels are composited, all by other code.
    table = parse_ply(out.read_bytes()).tables["vertex"]
    colors = 0.5 + 0.28209479177387814 * np.stack([table[f"f_dc_{channel}"] for channel in range(3)], axis=1)
    assert colors.min() < -0.2 and colors.max() > 1.2
    baked, pinhole = to_pinhole(read.gaussians[0], read.camera)
    picture = brute_force(read.gaussians[0], read.camera, read.background)
    for (largest, psnr), high in ((above, np.inf), (in_bytes, 1.0)):
        clamped = replace(baked, colors=torch.from_numpy(colors.clip(0.0, high)).float())
        expected = measured(brute_force(clamped, pinhole, read.background), picture)
        assert (largest, psnr) == (pytest.approx(expected[0], abs=6e-4), pytest.approx(expected[1], abs=0.06))
    assert above[0] > 0.1 and in_bytes[1] < above[1]


@pytest.mark.parametrize(
    ("to", "ending"), [("ply", ".ply"), ("compressed-ply", ".compressed.ply"), ("spz", ".spz"), ("sog", ".sog")]
)
def test_every_format_loses_what_is_stated(
    to: SplatFormat, ending: str, folder: Path, read: ImageGaussians, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the rounding of numbers; and with colours fitted anew, less."""
    picture = read.rendering.color[0]
    _, pinhole = to_pinhole(read.gaussians[0], read.camera)
    found = []
    for name, arguments in (("own", ()), ("refit", ("--refit-colors",))):
        out = tmp_path / f"{name}{ending}"
        assert export(folder, out, "--to", to, *arguments) == 0
        largest, psnr = stated(text := capsys.readouterr().out)[0]
        cloud = read_splats(out)
        expected = measured(render(cloud, pinhole, read.background).color, picture)
        assert (largest, psnr) == (pytest.approx(expected[0], abs=0.02), pytest.approx(expected[1], abs=1.0))
        assert ("and spz holds none above 1.44" in text) == (to == "spz" and name == "own")
        found.append((largest, psnr, seen_by(cloud, pinhole).fixed_colors(), text))
    assert found[1][0] < found[0][0] and found[1][1] > found[0][1] + 1
    assert float(found[1][2].max()) < 1.01
    refitted, clamped = stated(found[1][3])
    assert clamped == stated(found[0][3])[1] and refitted[1] > clamped[1]


def test_colours_that_viewers_show_are_written_without_a_word(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(small_gmae(), tmp_path / "model")
    for number, arguments in enumerate(((), ("--refit-colors",))):
        out = ("--to", "ply", "--out", str(tmp_path / f"{number}.ply"))
        assert run("export", str(tmp_path / "model"), str(folder / "leaf.png"), *out, *arguments) == 0
        text = capsys.readouterr().out
        assert "shows the model's picture in a window many times larger than its 24 × 16 px.\n" in text
        assert not stated(text) and "refit" not in text
    assert (tmp_path / "0.ply").read_bytes() == (tmp_path / "1.ply").read_bytes()


def test_only_splat_files_have_colours_to_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", str(folder / "model"), "--to", "timm", "--refit-colors") == 2
    assert "refit-colors: expected a splat format, such as --to ply, got --to timm" in capsys.readouterr().err


def test_colours_above_1_alone_matter_to_viewers_with_bytes(read: ImageGaussians) -> None:
    bright = replace(read, gaussians=replace(read.gaussians, colors=read.gaussians.fixed_colors().abs()))
    _, note = to_write(bright, "ply", refit=False)
    assert note.startswith("In viewers with a byte for each channel, which show none above 1, they differ by up to 0.")
    assert len(stated(note)) == 1 and note.endswith("--refit-colors lowers this.")


def test_a_fit_states_what_its_splat_file_loses(read: ImageGaussians, tmp_path: Path) -> None:
    """A fit may start from a model whose colours leave [0, 1], and keep them."""
    colors = {}
    for name, refit in (("own", False), ("refit", True)):
        note = write_fit(tmp_path, name, read, refit)
        _, pinhole = to_pinhole(read.gaussians[0], read.camera)
        gaussians = read_splats(tmp_path / f"{name}.ply")
        expected = measured(render(gaussians, pinhole, read.background).color, read.rendering.color[0])
        largest, psnr = stated(note)[0]
        assert (largest, psnr) == (pytest.approx(expected[0], abs=1e-3), pytest.approx(expected[1], abs=0.1))
        colors[name] = seen_by(gaussians, pinhole).fixed_colors()
    assert float(colors["own"].max()) > 1.4 and float(colors["refit"].max()) < 1.0 + 1e-5
    # The picture beside it is that of the fit either way.
    assert (tmp_path / "own-fit.png").read_bytes() == (tmp_path / "refit-fit.png").read_bytes()


def test_layers_state_what_their_files_lose(
    folder: Path, read: ImageGaussians, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for name, arguments in (("own", ()), ("refit", ("--refit-colors",))):
        out = tmp_path / name
        images = (str(folder / "leaf.png"), "--out", str(out), "--count", "3", "--device", "cpu")
        assert run("layers", str(folder / "model"), *images, *arguments) == 0
        text = capsys.readouterr().out
        behind = np.array([float(value) for value in re.findall(r"background \((.*?)\)", text)[0].split(", ")])
        picture = np.broadcast_to(behind, (16, 24, 3))
        for number in (3, 2, 1):
            layer = np.asarray(Image.open(out / f"leaf-layer-{number:02d}.png")) / 255
            picture = layer[..., :3] * layer[..., 3:] + picture * (1 - layer[..., 3:])
        expected = measured(torch.from_numpy(picture).permute(2, 0, 1), read.rendering.color[0])
        (figure,) = stated(text)
        assert figure == (pytest.approx(expected[0], abs=2e-3), pytest.approx(expected[1], abs=0.1))
        assert ("PNG files hold no colour outside of [0, 1]; --refit-colors lowers this" in text) == (name == "own")
        found[name] = figure
        # The rendering is the model's own either way.
        whole = np.asarray(Image.open(out / "leaf-rendering.png")) / 255
        np.testing.assert_allclose(
            whole, read.rendering.color[0].clamp(0, 1).permute(1, 2, 0).numpy(), atol=0.51 / 255, rtol=0
        )
    assert found["own"][0] > 0.1 and found["refit"][1] > found["own"][1] + 1


def test_layers_of_several_images_name_the_worst(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(folder / f"{name}.png") for name in ("leaf", "stone")]
    figures = {}
    for name, files in (("leaf", images[:1]), ("stone", images[1:]), ("both", images)):
        assert run("layers", str(folder / "model"), *files, "--out", str(tmp_path / name), "--device", "cpu") == 0
        text = capsys.readouterr().out
        figures[name] = stated(text)[0]
    worst = max(("leaf", "stone"), key=lambda name: figures[name][0])
    assert f"the layers of {worst}, the worst of 2 images, differ" in text and figures["both"] == figures[worst]
    assert math.isfinite(figures["both"][1])
