"""Options that prepare a scene for a small file, in a run that is interrupted."""

from pathlib import Path

import pytest

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.core.errors import InputError
from splatlearn.files import read_splats
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.recipes import schedules


def test_a_run_with_all_of_them_goes_on_and_writes_what_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "SORTS", 2)
    write_capture(tmp_path / "photos", known_gaussians(), cameras_around(6))
    options = {"mask": 1e-3, "rounding": 2.0, "grid": 0.1, "steps": 8, "max_gaussians": 60, "preset": "fast"}
    reconstruct(tmp_path / "photos", tmp_path / "whole", **options)
    reconstruct(tmp_path / "photos", tmp_path / "parts", stop_after=5, **options)
    reconstruct(tmp_path / "photos", tmp_path / "parts", resume=True, **options)
    one, two = (read_splats(tmp_path / name / "scene.ply") for name in ("whole", "parts"))
    assert all((each == two.tensors()[name]).all() for name, each in one.tensors().items())
    shares = one.opacities / (2 / 80)
    assert float((shares - shares.round()).abs()[one.opacities < 1].max()) < 1e-2


def test_options_that_cannot_be(tmp_path: Path) -> None:
    write_capture(tmp_path / "photos", known_gaussians(), cameras_around(4))
    with pytest.raises(InputError, match="mask: expected a number ≥ 0"):
        reconstruct(tmp_path / "photos", tmp_path / "run", mask=-1.0)
    with pytest.raises(InputError, match="stride: expected 1 with grid"):
        reconstruct(tmp_path / "photos", tmp_path / "run", grid=1.0, stride=2)
