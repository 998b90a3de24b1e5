"""The benchmark of filters at several sizes: its scenes, its truth and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks import zoom
from splatlearn.rendering import render


def test_every_arm_is_fitted_at_both_sizes_and_looked_at_in_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoom, "TRUTH", 256)
    monkeypatch.setattr(zoom, "FITTED", 3)
    stored = tmp_path / "zoom.json"
    zoom.main(zoom.Options((0,), steps=2, count=60, json_file=stored))
    rows = json.loads(stored.read_text())["rows"]
    assert [(row["scene"], row["fitted"], row["arm"]) for row in rows] == [
        (scene, side, arm) for scene in zoom.SCENES for side in (64, 256) for arm in zoom.ARMS
    ]
    assert all(set(row["psnr"]) == {"64", "128", "256"} and min(row["psnr"].values()) > 5 for row in rows)
    assert "fitted at" in capsys.readouterr().out


@pytest.mark.parametrize("scene", zoom.SCENES)
def test_the_truth_of_a_size_is_the_mean_over_its_pixels(scene: str) -> None:
    """Of one camera at two sizes: the lens is the same, so that pixels cover pixels."""
    truth = zoom.known_scene(scene, 0, 200)
    large, small = (zoom.cameras(side)[0] for side in (1024, 512))
    samples = render(truth, large, zoom.BEHIND, depth=False).color
    coarser = render(truth, small, zoom.BEHIND, depth=False).color
    assert float((F.avg_pool2d(samples, 2) - coarser).square().mean()) < 1e-4
    assert torch.equal(large.viewmats, small.viewmats)
