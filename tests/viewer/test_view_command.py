"""`splatlearn view`: image files in, one page out, and one sentence for what cannot be."""

import json
import re
from pathlib import Path

import pytest

from models.small_models import small_gmae, small_mae
from photos import noise_photos
from splatlearn.cli import main
from splatlearn.models import save_model
from viewer.browser import Visit

NASTY = "<img src=x onerror=alert(1)>.png"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["view", *arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_model(small_gmae(), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return noise_photos(tmp_path / "photos", {NASTY: (20, 31), "wide.png": (30, 90)})


def contents(page: Path) -> list[dict]:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert block is not None
    return json.loads(block[1])["images"]


def test_one_page_for_all_images(model: str, photos: Path, tmp_path: Path, capsys, browser) -> None:
    out = tmp_path / "new" / "page.html"
    assert run(model, str(photos), "--out", str(out), "--max-size", "60", "--groups", "3", "--device", "cpu") == 0
    nasty, wide = contents(out)
    assert nasty["name"] == NASTY.removesuffix(".png")
    assert (nasty["camera"]["width"], nasty["camera"]["height"]) == (31, 20)
    assert (wide["camera"]["width"], wide["camera"]["height"]) == (60, 20)
    assert set(wide["groups"]) <= {0, 1, 2}
    assert re.fullmatch(
        rf"{re.escape(str(out))}: 2 images, \d\.\d MB; model: {re.escape(model)}\n", capsys.readouterr().out
    )
    page = Visit(browser, out)
    assert page.text("h1") == "Gaussians of model"
    assert page.text("#name") == NASTY.removesuffix(".png")
    assert page.complaints == []
    page.close()


def test_unreadable_images_are_named_after_the_others_are_written(
    model: str, photos: Path, tmp_path: Path, capsys
) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    out = tmp_path / "page.html"
    assert run(model, str(photos), "--out", str(out), "--device", "cpu") == 2
    assert len(contents(out)) == 2
    assert "image: 1 of 3 could not be used" in capsys.readouterr().err


def test_files_are_replaced_on_demand_only(model: str, photos: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "mine.html"
    out.write_text("mine")
    arguments = (model, str(photos / "wide.png"), "--out", str(out), "--device", "cpu")
    assert run(*arguments) == 2
    assert out.read_text() == "mine"
    assert "exists; choose another with --out, or give --overwrite" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0
    assert len(contents(out)) == 1


def test_wrong_arguments_get_one_sentence(model: str, photos: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "page.html")
    save_model(small_mae(), tmp_path / "mae")
    for arguments, sentence in (
        ((str(tmp_path / "mae"), str(photos), "--out", out), "run: expected a GMAE, which predicts Gaussians"),
        ((model, str(photos), "--out", str(tmp_path)), "out: expected a file such as"),
        ((model, str(photos), "--out", out, "--max-size", "3"), "max_size: expected at least 4 pixels, one patch"),
        ((model, str(photos), "--out", out, "--groups", "1"), "groups: expected 2 to 10 clusters, got 1"),
        ((model, "--out", out), "image: expected at least one image file"),
    ):
        assert run(*arguments) == 2
        assert sentence in capsys.readouterr().err
    assert not Path(out).exists()
