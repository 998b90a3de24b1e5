"""Fixtures of the renderer's tests."""

from collections.abc import Iterator

import pytest

from rendering.compiled import COMPILED, Compiled


@pytest.fixture(scope="module", params=COMPILED)
def compiled(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    """Each compiled backend, with each of its instruction sets where it has several, switched on."""
    with request.param.active():
        yield request.param
