"""Fixtures for the tests of models."""

from collections.abc import Iterator

import pytest

from models.compiled_layers import SETS, compiled


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the compiled layers have on this processor."""
    assert compiled is not None
    before = compiled.instruction_set()
    compiled.use_instruction_set(request.param)
    yield request.param
    compiled.use_instruction_set(before)
