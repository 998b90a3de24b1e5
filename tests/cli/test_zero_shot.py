"""The commands that read images out: files in, files out, and one sentence for what cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from models.small_models import small_gmae, small_mae
from photos import noise_photos
from splatlearn.core.disk.outputs import MARKER, written_in
from splatlearn.files import read_splats
from splatlearn.models import GMAEConfig, save_model
from splatlearn.zero_shot import composite_layers, gaussians_of, layers


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_model(small_gmae(), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of two sizes, two of them with the same stem."""
    return noise_photos(tmp_path / "photos", {"a.png": (20, 31), "b.jpg": (20, 31), "b.png": (33, 12)})


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_layers_are_transparent_and_give_the_rendering_back(model: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("layers", model, str(photos), "--out", str(out), "--count", "3", "--device", "cpu") == 0
    names = {f"{name}-{kind}.png" for name in ("a", "b", "b-2") for kind in
             ("rendering", "layer-01", "layer-02", "layer-03")}  # fmt: skip
    assert {path.name for path in out.iterdir()} == names | {MARKER}
    image = torch.from_numpy(pixels(photos / "a.png").copy()).permute(2, 0, 1).float()[None] / 255
    expected = layers(small_gmae().eval(), image, 3)
    found = torch.stack([torch.from_numpy(pixels(out / f"a-layer-0{k}.png").copy()) for k in (1, 2, 3)])
    found = found.permute(0, 3, 1, 2).float()[None] / 255
    assert found.shape == expected.shape
    torch.testing.assert_close(found[:, :, 3], expected[:, :, 3], atol=0.51 / 255, rtol=0)
    whole = torch.from_numpy(pixels(out / "a-rendering.png").copy()).permute(2, 0, 1).float()[None] / 255
    torch.testing.assert_close(composite_layers(found), whole, atol=3 / 255, rtol=0)


def test_masks_and_edges_have_the_size_of_their_images(model: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    windows = ("--sizing", "windows", "--window", "10", "--device", "cpu")
    assert run("segment", model, str(photos / "b.png"), "--out", str(out), *windows) == 0
    assert run("edges", model, str(photos / "b.png"), "--out", str(out), "--method", "index", *windows) == 0
    soft, mask = pixels(out / "b-soft.png"), pixels(out / "b-mask.png")
    np.testing.assert_array_equal(mask == 255, soft >= 128)
    assert set(np.unique(mask)) <= {0, 255}
    assert pixels(out / "b-edges.png").shape == (33, 12)
    figure = pixels(out / "b-figure.png")
    np.testing.assert_array_equal(figure[..., :3], pixels(photos / "b.png"))
    np.testing.assert_array_equal(figure[..., 3], soft)


def test_large_images_are_shrunk_and_keep_their_shape(model: str, tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    Image.fromarray(shades).save(tmp_path / "large.png")
    Image.fromarray(shades[:, :5]).save(tmp_path / "narrow.png")
    arguments = (model, str(tmp_path / "large.png"), str(tmp_path / "narrow.png"), "--device", "cpu", "--overwrite")
    for side, sizes in ((30, ((30, 20), (30, 4))), (0, ((90, 60), (90, 5))), (1000, ((90, 60), (90, 5)))):
        assert run("edges", *arguments, "--max-size", str(side), "--out", str(tmp_path / "out")) == 0
        assert tuple(pixels(tmp_path / "out" / f"{name}-edges.png").shape for name in ("large", "narrow")) == sizes


def test_refining_changes_the_read_out(model: str, photos: Path, tmp_path: Path) -> None:
    for steps in ("0", "20"):
        out = tmp_path / steps
        options = ("--fit-steps", steps, "--count", "1", "--device", "cpu")
        assert run("layers", model, str(photos / "a.png"), "--out", str(out), *options) == 0
    image = pixels(photos / "a.png").astype(float)
    errors = [np.square(pixels(tmp_path / steps / "a-rendering.png") - image).mean() for steps in ("0", "20")]
    assert errors[1] < errors[0]


def test_a_fit_writes_picture_splats_and_figures(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    arguments = ("--gaussians", "30", "--steps", "20", "--add", "5", "--device", "cpu")
    assert run("fit", str(photos / "a.png"), "--out", str(out), *arguments) == 0
    assert "a: 35 Gaussians" in capsys.readouterr().out
    (result,) = json.loads((out / "fit.json").read_text())
    assert result["trace"][-1]["psnr"] > result["trace"][0]["psnr"]
    assert [point["step"] for point in result["trace"]] == list(range(21))
    shown, image = pixels(out / "a-fit.png") / 255, pixels(photos / "a.png") / 255
    assert -10 * np.log10(np.square(shown - image).mean()) == pytest.approx(result["trace"][-1]["psnr"], abs=0.3)
    assert read_splats(out / "a.ply").count == 35


def test_a_fit_may_start_from_a_model(model: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("fit", model, str(photos / "a.png"), "--out", str(out), "--steps", "1", "--device", "cpu") == 0
    assert json.loads((out / "fit.json").read_text())[0]["gaussians"] == 12


@pytest.mark.parametrize("choice", [{"background": "learned"}, {"background": "mean"}, {"depth": "pinhole"}], ids=str)
def test_a_fit_starts_from_the_models_own_picture(choice: dict, photos: Path, tmp_path: Path) -> None:
    model = small_gmae(0, GMAEConfig(gaussians=12, gaussians_per_query=3, **choice))
    save_model(model, tmp_path / "model")
    arguments = ("--steps", "3", "--device", "cpu", "--out", str(tmp_path / "out"))
    assert run("fit", str(tmp_path / "model"), str(photos / "a.png"), *arguments) == 0
    (result,) = json.loads((tmp_path / "out" / "fit.json").read_text())
    image = torch.from_numpy(pixels(photos / "a.png").copy()).permute(2, 0, 1).unsqueeze(0).float() / 255
    error = (gaussians_of(model, image).rendering.color - image).square().mean()
    assert result["trace"][0]["psnr"] == pytest.approx(float(-10 * error.log10()), abs=1e-3)
    assert len(result["trace"]) == 4


def test_unusable_images_are_named_and_the_others_done(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = (photos / "a.png").read_bytes()
    (photos / "a1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 50)).save(photos / "a2.png")
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(photos / "a3.gif", save_all=True, append_images=frames[1:])
    out = tmp_path / "out"
    assert run("edges", model, str(photos), "--out", str(out), "--device", "cpu") == 2
    error = capsys.readouterr().err
    assert "a1.png: unreadable image" in error and "Traceback" not in error
    assert "a2.png: unreadable image: expected at least 4×4 pixels, one patch of the model, got 50×1" in error
    assert "a3.gif: several frames, of which the first is used" in error
    assert "image: 2 of 6 could not be used" in error.splitlines()[-1]
    assert written_in(out) == {f"{name}-edges.png" for name in ("a", "a3", "b", "b-2")}


def test_wrong_arguments_are_one_sentence(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save_model(small_mae(), tmp_path / "mae")
    image, out = str(photos / "a.png"), ("--out", str(tmp_path / "out"))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (("layers", str(tmp_path / "mae"), image, *out), "run: expected a GMAE"),
        (("fit", str(tmp_path / "mae"), image, *out), "run: expected a GMAE"),
        (("edges", str(tmp_path / "nowhere/at/all"), image, *out), "nowhere/at/all"),
        (("edges", model, str(tmp_path / "empty"), *out), "image: expected images in the folder"),
        (("edges", model, *out), "image: expected at least one image file"),
        (("segment", model, image, "--out", str(tmp_path / "file")), "out: expected a folder, got the file"),
        (("layers", model, image, "--count", "99", *out), "count: expected 1 to 12 layers"),
    ):
        assert run(*arguments, "--device", "cpu") == 2, arguments
        error = capsys.readouterr().err.strip()
        assert message in error and error.startswith("splatlearn: ") and "\n" not in error
