"""Models of one channel, as weights of medical pictures have them, in every command that takes a model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from splatlearn.models import MAE, DecoderConfig, MAEConfig, ViTConfig, load_classifier, load_model, save_model
from splatlearn.models.channels import fit_channels
from splatlearn.models.exchange.layout import official_weights


def model_of(channels: int) -> MAE:
    encoder = ViTConfig(
        16, 1, 2, 8, (16, 16), channels=channels, input_mean=(0.5,) * channels, input_std=(0.5,) * channels
    )
    return MAE(MAEConfig(encoder, DecoderConfig(16, 1, 2)), torch.Generator().manual_seed(0))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of grey pictures, in mode L."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.normal(level, 20, (20, 20)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    torch.save({"model": official_weights(model_of(1))}, tmp_path / "grey.pth")
    options = ("--num-heads", 2, "--decoder-num-heads", 2, "--target", "colors")
    assert run("import", tmp_path / "grey.pth", "--out", tmp_path / "grey", *options) == 0
    return tmp_path / "grey"


def test_grey_pictures_stay_what_they_are() -> None:
    values = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(fit_channels(values.expand(-1, 3, -1, -1), 1), values)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    ours = fit_channels(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float(), 1)[0, 0]
    assert np.abs(ours.numpy() - np.asarray(Image.fromarray(pixels).convert("L"), np.float32)).max() <= 0.51
    assert fit_channels(values, 1) is values


def test_it_is_evaluated_and_finetuned(grey: Path, photos: Path, tmp_path: Path) -> None:
    quick = ("--device", "cpu", "--precision", "fp32", "--probes", "knn")
    assert run("evaluate", grey, "--data", photos, "--out", tmp_path / "scores", *quick) == 0
    (found,) = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["evaluations"]
    assert [each["name"] for each in found["subjects"]] == ["model", "random weights", "raw pixels"]
    assert found["subjects"][2]["scores"][0]["value"] == 1.0
    small = ("--epochs", 1, "--batch-size", 4, "--device", "cpu", "--precision", "fp32", "--workers", 0, "--trackers")
    assert run("finetune", grey, "--data", photos, "--out", tmp_path / "run", *small) == 0
    encoder = load_classifier(tmp_path / "run").config.encoder
    assert isinstance(encoder, ViTConfig) and encoder.channels == 1


@pytest.mark.parametrize("to", ["timm", "hf", "hf-mae"])
def test_it_is_exported_and_comes_back(to: str, grey: Path, tmp_path: Path) -> None:
    assert run("export", grey, "--to", to, "--target", "colors", "--out", tmp_path / "out") == 0
    options = () if to != "timm" else ("--into", grey)
    assert run("import", tmp_path / "out", "--out", tmp_path / "back", *options) == 0
    images = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(load_model(tmp_path / "back").encode(images), load_model(grey).encode(images))


def test_its_report_shows_pictures(grey: Path, photos: Path, tmp_path: Path) -> None:
    assert run("report", grey, photos / "dark" / "0.png", "--out", tmp_path / "report.html", "--device", "cpu") == 0
    assert "PSNR on hidden pixels" in (tmp_path / "report.html").read_text()


def test_training_from_it_is_refused(
    grey: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pretrain", "mae", "--data", photos, "--start-from", grey, "--out", tmp_path / "run") == 2
    assert "expected an encoder of RGB images, got one of 1 channels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["evaluate", "finetune", "report"])
def test_other_channels_are_refused_before_anything_is_written(
    verb: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(model_of(4), tmp_path / "four")
    before = sorted((tmp_path / "four").rglob("*"))
    given = [photos / "dark" / "0.png"] if verb == "report" else ["--data", photos]
    out = tmp_path / ("page.html" if verb == "report" else "out")
    more = ["--rand-augment", 0] if verb == "finetune" else []
    assert run(verb, tmp_path / "four", *given, "--out", out, "--device", "cpu", *more) == 2
    assert "model: expected an encoder of RGB or grey images, which image files hold, got" in capsys.readouterr().err
    assert not out.exists() and sorted((tmp_path / "four").rglob("*")) == before
