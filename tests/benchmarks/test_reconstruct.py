"""The benchmark of reconstructions: its curves are those of the runs."""

import json
from pathlib import Path

import pytest

from benchmarks.reconstruct import Options, main, seconds_to
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture


def test_a_run_has_a_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9))
    out = tmp_path / "out.json"
    options = ("steps=6", "max_gaussians=60", "random_start=50", "background=black")
    main(Options((str(photos),), options=options, targets=(1.0, 90.0), json_file=out))
    result = json.loads(out.read_text())
    assert result["options"]["background"] == "black"
    (run,) = result["runs"]
    assert run["capture"] == "photos" and run["steps"] == 6 and run["gaussians"] <= 60
    assert [each["step"] for each in run["curve"]] == [0, 1, 2, 3, 4, 5, 6]
    assert run["curve"][-1]["psnr"] == pytest.approx(run["psnr"])
    assert run["seconds_to"]["90.0"] is None and run["seconds_to"]["1.0"] is not None
    assert run["seconds"] <= run["wall"]
    assert "photos" in capsys.readouterr().out


def test_the_first_seconds_at_a_target_count() -> None:
    scores = [{"seconds": 1.0, "psnr": 20.0}, {"seconds": 2.0, "psnr": 25.0}, {"seconds": 3.0, "psnr": 24.0}]
    assert [seconds_to(scores, target) for target in (20.0, 22.0, 26.0)] == [1.0, 2.0, None]
