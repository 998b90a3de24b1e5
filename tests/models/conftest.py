"""Fixtures for the tests of models."""

from collections.abc import Iterator

import pytest

import compiled_code
from splatlearn.models.nn import layers


@pytest.fixture(params=compiled_code.sets_of(layers.native))
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the compiled layers have on this processor."""
    with compiled_code.switched(layers.native, request.param) as name:
        yield name
