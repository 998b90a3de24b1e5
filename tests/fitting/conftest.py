"""Fixtures of the tests of fits."""

from collections.abc import Iterator

import pytest

from fitting.compiled_fitting import SETS, native


@pytest.fixture(params=SETS or [pytest.param("", marks=pytest.mark.skip(reason="built without a compiler"))])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the compiled loss and optimiser have on this processor."""
    assert native is not None
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)
