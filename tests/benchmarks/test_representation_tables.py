"""The tables and the picture of the comparison of what was learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.representation_tables import curve, picture, record, table
from splatlearn.evaluation.comparison import Comparison, Row, paired_difference


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two seeds of both methods; GMAE paints 1 dB better."""
    made = []
    for method, psnr in (("mae", 15.0), ("gmae", 16.0)):
        for seed in (0, 1):
            folder = tmp_path / f"{method}-{seed}"
            folder.mkdir()
            facts = {
                "masked_psnr_model": psnr + seed,
                "masked_psnr_mean": 12.0,
                "images_per_second": 80.0 + seed,
                "steps": 7,
            }
            (folder / "done.json").write_text(json.dumps(facts))
            lines: list[dict[str, float]] = [{"step": 1, "loss": 0.5}]
            lines += [{"probe_epoch": epoch, "probe_knn": 0.1 * epoch, "probe_linear": 0.2} for epoch in (1, 2)]
            (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            made.append(folder)
    return made


@pytest.fixture
def comparison() -> Comparison:
    values: tuple[dict[int | None, float], dict[int | None, float]] = ({0: 0.40, 1: 0.42}, {0: 0.43, 1: 0.45})
    row = Row("knn top-1", "top-1", values, (paired_difference(*values),))
    return Comparison("cifar10", 100, ("mae", "gmae"), (row,))


def test_table_has_means_deviations_and_the_paired_difference(folders: list[Path], comparison: Comparison) -> None:
    text = table(comparison, folders)
    assert "| knn top-1 | 41.0 ± 1.4 | 44.0 ± 1.4 | +3.0 [+3.0, +3.0] | higher |" in text
    assert "MAE: 15.50 ± 0.71 dB on hidden pixels (mean of the visible ones: 12.00 dB), 80 images/s, 7 steps" in text
    assert "GMAE: 16.50 ± 0.71 dB" in text


def test_record_holds_every_score_and_the_curves(folders: list[Path], comparison: Comparison) -> None:
    found = record("cifar10", comparison, folders)
    assert found["scores"] == {"knn top-1": {"mae": [0.40, 0.42], "gmae": [0.43, 0.45]}}
    assert found["runs"]["gmae-1"]["masked_psnr_model"] == 17.0
    assert found["runs"]["mae-0"]["curve"] == curve(folders[0])
    assert [each["epoch"] for each in curve(folders[0])] == [1, 2]


def test_picture_has_a_panel_for_each_probe_and_a_line_for_each_run(folders: list[Path]) -> None:
    axes = picture({"cifar10": folders}).axes
    assert [axis.get_title() for axis in axes] == ["cifar10, kNN", "cifar10, linear"]
    # Two seeds and a mean of two methods.
    assert [len(axis.lines) for axis in axes] == [6, 6]
