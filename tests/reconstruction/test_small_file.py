"""The compressed copy of a scene that `target_size` asks for."""

from pathlib import Path

import pytest

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.compression import search
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splat_file
from splatlearn.reconstruction import reconstruct
from splatlearn.runs.log import LOG


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer files are tried, which takes less time."""
    monkeypatch.setattr(search, "SHARES", (1.0,))
    monkeypatch.setattr(search, "TRIES", 3)


def test_a_run_ends_with_a_file_of_at_most_that_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(5))
    out, small = tmp_path / "run", tmp_path / "run" / "scene.sl3"
    options = {"steps": 2, "max_gaussians": 100, "random_start": 100, "filter": "mip"}
    result = reconstruct(photos, out, preset="fast", **options)
    assert not small.exists()
    # A run that is finished gets one too.
    reconstruct(photos, out, resume=True, target_size="2.5 kB")
    assert 1_200 < small.stat().st_size <= 2_500
    found = read_splat_file(small)
    assert found.antialiased and found.count == result.gaussians.count

    def middle(gaussians: Gaussians) -> list[float]:
        return gaussians.means.median(dim=0).values.tolist()

    # Both are in the capture's own coordinates.
    assert middle(found.gaussians) == pytest.approx(middle(result.gaussians), abs=0.05)
    assert "scene.sl3: " in capsys.readouterr().err
    before, small_before = (out / LOG).read_bytes(), small.stat().st_mtime_ns
    reconstruct(photos, out, resume=True, target_size="2.5 kB")
    assert (out / LOG).read_bytes() == before and small.stat().st_mtime_ns == small_before
    reconstruct(photos, out, resume=True, target_size="90 b")
    assert "scene.sl3 is left out: budget: expected at least the smallest file" in capsys.readouterr().err


def test_sizes_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target_size: expected bytes, such as 2000000, 2MB or 500kB, got '5 acres'"):
        reconstruct(tmp_path, tmp_path / "run", target_size="5 acres")
