"""The benchmark of generalised exponentials: both tables, and the control."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch

from benchmarks import ges


def test_both_tables_are_printed_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "ges.json"
    ges.main(ges.Options(seeds=3, steps=3, counts=(2,), json_file=stored))
    found = json.loads(stored.read_text())
    assert [row["target"] for row in found["curves"]] == [*ges.targets(torch.zeros(1))]
    assert all(len(row["errors"]["ges"]) == 3 for row in found["curves"])
    printed = capsys.readouterr().out
    assert "half sine" in printed and "published scale" in printed


def test_two_exponentials_make_a_box_of_which_five_gaussians_are_farther() -> None:
    x = torch.linspace(-1, 1, ges.SAMPLES)
    options, box = ges.Options(seeds=4, steps=250), ges.targets(x)["square"]
    two, five = (
        statistics.median(ges.curve_errors(box, x, count, has, options)) for count, has in ((2, True), (5, False))
    )
    assert two < five


def test_a_scale_is_no_exponent() -> None:
    for name, error in ges.scale_errors(2.0).items():
        assert error < 1e-9 or name == "best scale", name
    far = ges.scale_errors(8.0)
    assert far["best scale"] > 0.1 and far["best scale"] <= min(far.values())
