"""The zero-shot and fitting benchmarks run and write their figures; their times are not looked at."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark_commands import run_benchmark
from benchmarks.common import check_part
from benchmarks.zero_shot import Options, keep_settings
from models.small_models import small_gmae, small_mae
from splatlearn.models import save_model


def test_every_control_is_scored(tmp_path: Path):
    save_model(small_gmae(), tmp_path / "gmae")
    save_model(small_mae(), tmp_path / "mae")
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    mask = np.zeros((24, 32), dtype=bool)
    mask[8:16, 10:22] = True
    for name in ("1", "2"):
        Image.fromarray(np.where(mask[..., None], (200, 30, 30), (20, 60, 90)).astype(np.uint8)).save(
            tmp_path / "data" / "images" / f"{name}.png"
        )
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{name}.png")
    save_model(small_gmae(seed=1), tmp_path / "gmae-1")
    save_model(small_mae(seed=1), tmp_path / "mae-1")
    arguments = ["--runs", tmp_path / "gmae", tmp_path / "gmae-1", "--maes", tmp_path / "mae", tmp_path / "mae-1"]
    data = ["--figure-ground", tmp_path / "data", "--figure-limit", 2, "--out", tmp_path / "out"]
    options = ["--fit-steps", 3, "--window", 16, "--json-file", tmp_path / "f.json"]
    shown = run_benchmark("zero_shot", *arguments, *data, *options)
    ((first, second),) = json.loads((tmp_path / "f.json").read_text())["tables"].values()
    starts = {name.split(", ")[0] for name in first}
    assert starts == {
        "GMAE", "GMAE in windows", "GMAE fitted 3", "shuffled depths", "random weights", "random weights in windows",
        "random weights fitted 3", "MAE", "centre prior", "Otsu", "colour mixtures",
    }  # fmt: skip
    assert {"GMAE, TokenCut", "MAE, TokenCut", "random weights, TokenCut"} < set(first)
    assert first["Otsu"]["iou"] == 1.0 and "| centre prior |" in shown
    assert {name.split(", ")[0] for name in second} == {"GMAE", "GMAE in windows", "GMAE fitted 3", "MAE"}
    mean = (first["GMAE, groups"]["iou"] + second["GMAE, groups"]["iou"]) / 2
    assert f"| GMAE, groups | {mean:.3f}" in shown
    # What is there is read, not scored again.
    (tmp_path / "gmae" / "config.json").unlink()
    again = run_benchmark("zero_shot", *arguments, *data, *options)
    assert again == shown


def test_scores_of_other_settings_are_not_mixed(tmp_path: Path):
    first = Options(runs=("a", "b"), out=tmp_path, bsds="here", thresholds=33)
    keep_settings(first)
    keep_settings(replace(first, bsds=None, figure_ground="there", limit=3, part=(1, 2)))
    with pytest.raises(SystemExit, match="made with thresholds = 33, expected 99; name another folder"):
        keep_settings(replace(first, thresholds=99))
    with pytest.raises(SystemExit, match="made with figure_ground = there"):
        keep_settings(replace(first, figure_ground="elsewhere"))
    with pytest.raises(SystemExit, match=r"made with runs = \['a', 'b'\]"):
        keep_settings(replace(first, runs=("b", "a")))


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_is_one_of_n(part: tuple[int, int]):
    with pytest.raises(SystemExit, match="part: expected I N"):
        check_part(part)
    check_part((1, 2))


def test_fits_are_traced_from_both_starts(tmp_path: Path):
    save_model(small_gmae(), tmp_path / "gmae")
    small = ["--run", tmp_path / "gmae", "--side", "32", "--steps", "5", "--limit", "1"]
    large = ["--large", "48", "32", "--large-gaussians", "20", "--large-steps", "4"]
    shown = run_benchmark("fitting", *small, *large, "--json-file", tmp_path / "f.json")
    fits = json.loads((tmp_path / "f.json").read_text())["fits"]
    assert [(fit["start"], fit["gaussians"]) for fit in fits] == [
        ("prediction", 12), ("scratch", 12), ("scratch", 20), ("scratch, half added", 20),
    ]  # fmt: skip
    assert all(fit["trace"][-1]["psnr"] > fit["trace"][0]["psnr"] for fit in fits)
    assert "china 48x32" in shown
