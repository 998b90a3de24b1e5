"""Storing weights in the package; needs the packs, whose terms the card repeats."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import weights
from benchmarks.packs import FOLDER, Photographs
from models.small_models import small_gmae
from splatlearn.models import load_model, save_model

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no packs beside the checkout")


def test_photographs_are_those_of_all_parts() -> None:
    photographs = Photographs()
    assert len(photographs) == 17_500 + 2_000 + 200
    sizes = [photographs[index].image.size for index in (0, 17_499, 17_500, 19_499, 19_500, 19_699)]
    assert sizes[:2] == [(64, 64)] * 2 and sizes[2:4] == [(224, 224)] * 2
    assert all(sorted(size) == [321, 481] for size in sizes[4:])


def test_stored_weights_are_half_precision_with_a_card(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "gmae-tiny"
    save_model(small_gmae(0), run)
    table = {"GMAE, default": {"ods": 0.6, "seconds": 3.0}, "Canny (published)": {"ods": 0.6}}
    painted = {"psnr": 15.0, "psnr of the mean": 13.25, "ssim": 0.375}
    (run / weights.JUDGED).write_text(json.dumps({"hidden pixels": painted, "BSDS500, 2 images": table}))
    weights.store("gmae-tiny", tmp_path / "runs", tmp_path / "package")
    stored = tmp_path / "package" / "gmae-tiny"
    assert torch.equal(load_model(stored).encoder.cls_token, small_gmae(0).encoder.cls_token.half().float())
    card = (stored / "README.md").read_text()
    assert "non-commercial research" in card and "BSDS500, 2 images" in card and "60.0" in card
    assert "published" not in card and "| PSNR | 15.00 dB | 13.25 dB |" in card and "37.5" in card


def test_weights_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(small_gmae(0), tmp_path / "runs" / "gmae-tiny")
    (tmp_path / "runs" / "gmae-tiny" / weights.JUDGED).write_text("{}")
    monkeypatch.setattr(weights, "LIMIT", 1000)
    with pytest.raises(SystemExit, match="expected weights of at most 1,000 bytes"):
        weights.store("gmae-tiny", tmp_path / "runs", tmp_path / "package")
