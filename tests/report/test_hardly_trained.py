"""A run that paints hidden pixels worse than their mean colour is said to be hardly trained."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from splatlearn.cli import main
from splatlearn.models import load_model, presets, save_model
from splatlearn.report import hardly_trained as said
from splatlearn.report.hardly_trained import hardly_trained
from splatlearn.report.parts.page import render_page
from splatlearn.report.run_pictures import ShownPhotos, run_picture_sections
from splatlearn.training import pretrain
from training.small_run import pictures, small_recipe
from training.two_trainers import SMALL


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(presets.ENCODERS, "tiny", SMALL)
    pretrain(small_recipe(tmp_path / "run", stop_after=4), pictures())
    return tmp_path / "run"


def scored(monkeypatch: pytest.MonkeyPatch, model: float, mean: float) -> None:
    scores = {"masked_psnr_model": model, "masked_psnr_mean": mean}
    monkeypatch.setattr(said, "masked_psnr", lambda *arguments: scores)


def test_it_names_the_step_of_the_checkpoint(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, 30, 24, generator=torch.Generator().manual_seed(0))
    model = load_model(run)
    scored(monkeypatch, 10.0, 12.5)
    sentence = "hardly trained: step 4 of 9 (hidden pixels 10.0 dB, in their mean colour 12.5 dB)"
    assert hardly_trained(run, model, images) == sentence
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert hardly_trained(checkpoint, model, images) == sentence
    scored(monkeypatch, 12.6, 12.5)
    assert hardly_trained(run, model, images) is None


def test_fresh_weights_lose_against_the_mean_of_a_flat_picture(run: Path) -> None:
    flat = torch.full((2, 3, 16, 16), 0.5)
    told = hardly_trained(run, load_model(run), flat)
    assert told is not None and told.startswith("hardly trained: step 4 of 9 (")


def test_what_is_no_run_here_is_not_judged(run: Path, tmp_path: Path) -> None:
    model = load_model(run)
    save_model(model, tmp_path / "model")
    assert hardly_trained(tmp_path / "model", model, torch.full((1, 3, 16, 16), 0.5)) is None
    assert hardly_trained("gmae-tiny", model, torch.full((1, 3, 16, 16), 0.5)) is None


def test_the_page_says_it(run: Path) -> None:
    photos = ShownPhotos(torch.full((1, 3, 16, 16), 0.5), ["flat"], "These are grey.")
    page = render_page("run", "", run_picture_sections(run, load_model(run), photos))
    assert "The model is hardly trained: step 4 of 9" in page


def test_an_exported_splat_file_says_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "grey.png"
    Image.new("RGB", (20, 20), (128, 128, 128)).save(photo)
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(run), str(photo), "--to", "ply", "--out", str(tmp_path / "grey.ply")])
    assert stopped.value.code == 0
    assert f"{run} is hardly trained: step 4 of 9 (" in capsys.readouterr().err
