"""Fixtures of the tests of training."""

import pytest

from splatlearn.models import presets
from training.two_trainers import SMALL


@pytest.fixture
def small_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the smallest named encoder one whose steps take milliseconds."""
    monkeypatch.setitem(presets.ENCODERS, "tiny", SMALL)
