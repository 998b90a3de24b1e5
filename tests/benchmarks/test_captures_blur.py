"""The benchmark of blurred photographs: published errors are reproduced, and what the table says of defocus holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import captures_blur
from benchmarks.captures_blur import Options, main


def test_middles_err_less_and_the_published_factor_ends_too_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures_blur, "BLURS", (0.5, 2.0))
    # Enough for these blurs.
    monkeypatch.setattr(captures_blur, "STEPS", 200)
    main(Options(tmp_path / "blur.json"))
    result = json.loads((tmp_path / "blur.json").read_text())
    known = [(0.011, 0.15), (0.0028, 0.093), (0.064, 0.36), (0.021, 0.23)]
    for row, (middles, ends) in zip(result["lines"], known, strict=True):
        assert row["midpoint"] == pytest.approx(middles, rel=0.1) and row["endpoints"] == pytest.approx(ends, rel=0.1)
    assert len(result["defocus"]) == 2
    for row in result["defocus"]:
        for arm in ("widened", "width of its own"):
            assert row[arm]["variance"] == pytest.approx(1, abs=0.02) and row[arm]["gradient"] != 0
        assert row["published"] == {"gradient": 0, "variance": 0}
    assert result["defocus"][-1]["published, beyond its dead range"]["variance"] < 0.06
