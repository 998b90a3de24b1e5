"""Fixtures of the tests of fits."""

from collections.abc import Iterator

import pytest

import compiled_code
from splatlearn.fitting import compiled


@pytest.fixture(params=compiled_code.sets_of(compiled.native))
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the compiled loss and optimiser have on this processor."""
    with compiled_code.switched(compiled.native, request.param) as name:
        yield name


@pytest.fixture(params=["compiled", "PyTorch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loss and the optimiser as they are where the extension was built, and as they are without it."""
    if request.param == "PyTorch":
        monkeypatch.setattr(compiled, "native", None)
    elif compiled.native is None:
        pytest.skip(compiled_code.NOT_BUILT)
    return request.param
