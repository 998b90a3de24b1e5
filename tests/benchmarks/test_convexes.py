"""The benchmark of convexes: its pictures, its budget and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import convexes


def test_the_table_is_printed_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "convexes.json"
    convexes.main(convexes.Options(pictures=2, steps=2, size=12, budget=36, points=(4,), json_file=stored))
    rows = json.loads(stored.read_text())["rows"]
    assert [(row["arm"], row["count"]) for row in rows[:3]] == [("gaussian", 4), ("ges", 3), ("convex, 4 points", 2)]
    assert {len(row["psnr"]) for row in rows} == {2}
    printed = capsys.readouterr().out
    assert "polygons" in printed and "smooth discs" in printed


def test_no_arm_has_more_numbers_than_another() -> None:
    options = convexes.Options()
    numbers = {"gaussian": 9, "ges": 10, "convex, 4 points": 14, "convex, 6 points": 18}
    for arm, (count, _) in convexes.arms(options).items():
        assert options.budget - numbers[arm] < count * numbers[arm] <= options.budget


def test_pictures_have_edges_or_none() -> None:
    """Averaged over its pixels, a polygon keeps flat parts; a smooth disc has a slope of no more than 1/12 a pixel."""
    flat, smooth = convexes.polygons(48, 0), convexes.discs(48, 0)
    steepest = [float(each.diff(dim=-1).abs().max()) for each in (flat, smooth)]
    still = [float((each.diff(dim=-1).abs().amax(0) < 1e-6).double().mean()) for each in (flat, smooth)]
    assert steepest[0] > 0.3 > 0.2 > steepest[1] and still[0] > 0.7 > 0.3 > still[1]
    assert not torch.equal(flat, convexes.polygons(48, 1))
