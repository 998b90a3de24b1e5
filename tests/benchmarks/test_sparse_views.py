"""The benchmark of few photographs: which are taken, which points stay, and what its table says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sparse_views import Options, applies, main, sparse
from captures.synthetic import lens_of, synthetic, write_colmap_binary, write_photographs
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import load_capture


def test_runs_are_those_of_few_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(17, 80, 64), transparent=True)
    stored = tmp_path / "result.json"
    arms = ("plain", "hull", "random background", "depth of points")
    options = Options((str(photos),), (4,), (0, 1), arms, 3, 300, 64, stored)
    main(options)
    result = json.loads(stored.read_text())
    assert [(run["arm"], run["seed"]) for run in result["runs"]] == [
        ("plain", 0), ("plain", 1), ("hull", 0), ("hull", 1),
    ]  # fmt: skip
    assert all(0 < run["psnr"] < 60 and run["gaussians"] <= 300 and run["cpu"] > 0 for run in result["runs"])
    shown = capsys.readouterr().out
    assert "held-out dB" in shown and json.loads(shown.strip().splitlines()[-1]) == result


def test_points_stay_that_two_of_the_views_observe(tmp_path: Path) -> None:
    made = synthetic(lens_of("PINHOLE"))
    write_photographs(tmp_path / "images", made.names)
    write_colmap_binary(tmp_path / "sparse/0", made)
    whole = load_capture(tmp_path)
    few = sparse(whole, 3)
    assert len(few.training) == 3 and few.held_out == whole.held_out
    assert set(few.training) <= set(whole.training)
    tracks, points = few.points.tracks, few.points
    assert tracks is not None and whole.points.tracks is not None
    assert set(tracks.views.tolist()) == set(few.training)
    for index in range(len(points)):
        here = slice(tracks.starts[index], tracks.starts[index + 1])
        assert len(set(tracks.views[here].tolist())) >= 2
        before = np.abs(whole.points.xyz - points.xyz[index]).sum(axis=1).argmin()
        seen = whole.points.tracks.points == before
        for view, pixel in zip(tracks.views[here], tracks.pixels[here], strict=True):
            assert (np.abs(whole.points.tracks.pixels[seen & (whole.points.tracks.views == view)] - pixel) < 1e-9).all()
    assert (
        applies("depth of points", few)
        and applies("depth of a sweep", few)
        and not applies("hull", few)
        and applies("random background", few)
    )
