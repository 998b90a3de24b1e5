"""Timing commands as a shell sees them."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import own_photo
from benchmarks.own_photo import timed


def test_a_command_has_seconds_and_memory_and_a_failing_one_is_named(tmp_path: Path) -> None:
    seconds, megabytes = timed([sys.executable, "-c", "x = bytearray(200_000_000); import time; time.sleep(0.2)"])
    assert seconds >= 0.2 and megabytes > 200
    with pytest.raises(RuntimeError, match="expected exit code 0, got 3"):
        timed([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_photograph_is_as_large_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_photo.SIZE == (4000, 3000)
    # A sixteenth of it has the same grain.
    monkeypatch.setattr(own_photo, "SIZE", (1000, 750))
    with Image.open(own_photo.write_photo(tmp_path / "photo.jpg")) as image:
        assert image.size == (1000, 750) and image.format == "JPEG"
    assert (tmp_path / "photo.jpg").stat().st_size > 2_000_000 / 16
