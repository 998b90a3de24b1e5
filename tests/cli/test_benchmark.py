"""The benchmark command on small data: every method scored, results on disk, one sentence for what cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from cli.commands import run
from models.small_models import small_gmae, small_mae
from splatlearn.evaluation.boundaries.contenders import READ_OUTS as EDGES
from splatlearn.evaluation.saliency.contenders import READ_OUTS as FIGURES
from splatlearn.models import save_model


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_model(small_gmae(), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    """Two photographs of a bright square, annotated."""
    for kind in ("images", "groundTruth"):
        (tmp_path / "bsds" / kind / "test").mkdir(parents=True)
    pixels = np.full((48, 64, 3), 40, dtype=np.uint8)
    pixels[12:36, 20:44] = 220
    truth = np.zeros((48, 64), dtype=np.uint8)
    truth[[12, 35], 20:44], truth[12:36, [20]], truth[12:36, [43]] = 1, 1, 1
    annotation = np.empty((1, 1), dtype=object)
    annotation[0, 0] = {"Boundaries": truth, "Segmentation": truth.astype(np.uint16)}
    for name in ("1", "2"):
        Image.fromarray(pixels).save(tmp_path / "bsds" / "images" / "test" / f"{name}.png")
        scipy.io.savemat(tmp_path / "bsds" / "groundTruth" / "test" / f"{name}.mat", {"groundTruth": annotation})
    return tmp_path / "bsds"


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "figures" / "things" / kind).mkdir(parents=True)
    mask = np.zeros((48, 64), dtype=bool)
    mask[12:36, 20:44] = True
    for name in ("1", "2"):
        pixels = np.where(mask[..., None], 200, 60) + rng.integers(-10, 10, (48, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "figures" / "things" / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "figures" / "things" / "masks" / f"{name}.png")
    return tmp_path / "figures"


def test_edges_are_scored_beside_simple_methods(model: str, bsds: Path, capsys: pytest.CaptureFixture) -> None:
    options = ("--thresholds", "5", "--processes", "1", "--device", "cpu", "--baselines", "yes", "--every")
    assert run("benchmark", "bsds500", model, "--data", str(bsds), *options) == 0
    (rows,) = json.loads((Path(model) / "benchmark-bsds500.json").read_text()).values()
    assert {f"GMAE, {name}" for name in EDGES} | {"Sobel", "Canny"} < set(rows)
    assert rows["Canny"]["ods"] > 0.9
    assert rows["gPb-owt-ucm (published, 200 images)"]["ods"] == 0.726
    shown = capsys.readouterr().out
    assert "BSDS500, 2 test images, 5 thresholds" in shown and "Canny" in shown


def test_without_more_words_the_default_and_the_papers_edges_are_scored(model: str, bsds: Path) -> None:
    options = ("--thresholds", "5", "--processes", "1", "--device", "cpu")
    assert run("benchmark", "bsds500", model, "--data", str(bsds), *options) == 0
    (rows,) = json.loads((Path(model) / "benchmark-bsds500.json").read_text()).values()
    assert [name for name in rows if "published" not in name] == ["GMAE, default", "GMAE, layer index"]


def test_figures_are_scored_beside_simple_methods(model: str, figures: Path, tmp_path: Path) -> None:
    options = ("--processes", "1", "--device", "cpu", "--out", str(tmp_path / "results"))
    assert run("benchmark", "figure-ground", model, "--data", str(figures), *options) == 0
    tables = json.loads((tmp_path / "results" / "benchmark-figure-ground.json").read_text())
    rows = tables["things, 2 photographs"]
    assert {f"GMAE, {name}" for name in FIGURES} | {
        "centre prior",
        "Otsu",
        "colour mixtures",
        "colour mixtures, centre",
    } == set(rows)
    assert rows["Otsu"] == pytest.approx(dict.fromkeys(rows["Otsu"], 1.0), abs=0.02)


def test_wrong_input_is_one_sentence(
    model: str, bsds: Path, figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save_model(small_mae(), tmp_path / "mae")
    Image.new("1", (10, 10)).save(figures / "things" / "masks" / "2.png")
    for arguments, message in (
        (("bsds500", str(tmp_path / "mae"), "--data", str(bsds)), "run: expected a GMAE"),
        (("bsds500", model, "--data", str(figures)), "data: expected BSDS500 with images/test"),
        (("figure-ground", model, "--data", str(figures)), "expected a mask of 64×48 pixels like 2.png, got 10×10"),
        (("bsds500", model, "--data", str(bsds), "--limit", "0"), "limit: expected at least 1"),
        (("bsds500", "owner/name", "--data", str(bsds)), "out: expected a folder for the results"),
    ):
        assert run("benchmark", *arguments, "--device", "cpu", "--processes", "1", "--baselines", "no") == 2
        error = capsys.readouterr().err.strip()
        assert message in error and error.startswith("splatlearn: ") and "\n" not in error
