"""The benchmark of primitives on captures: equal numbers, and a row for each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.primitives import Options, main, most
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture


@pytest.mark.filterwarnings("ignore::splatlearn.core.errors.SlowBackendWarning")
def test_each_primitive_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9, 24, 20))
    out, options = tmp_path / "out.json", ("background=black", "evaluate_every=4", "start='random'")
    main(Options((str(photos),), ("gaussian", "convex"), 800, 4, 4, 20, 0, options=options, json_file=out))
    runs = json.loads(out.read_text())["runs"]
    assert [run["primitive"] for run in runs] == ["gaussian", "convex"]
    # 800 numbers: 13 of a Gaussian, 18 of a convex of 4 points.
    assert all(0 < run["gaussians"] <= limit for run, limit in zip(runs, (61, 44), strict=True))
    assert all(run["bytes"] > 4 * 10 * run["gaussians"] for run in runs)
    printed = capsys.readouterr().out
    assert "gaussian" in printed and "convex" in printed


def test_the_budget_is_one_of_numbers() -> None:
    options = Options((), numbers=59_000, degree=3)
    assert most("gaussian", options) == 59_000 // 58 and most("convex", options) == 59_000 // 69
