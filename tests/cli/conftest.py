"""Fixtures of the tests of commands."""

from pathlib import Path

import pytest

from models.small_models import small_gmae
from splatlearn.models import save_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a small GMAE."""
    save_model(small_gmae(), tmp_path / "model")
    return tmp_path / "model"
