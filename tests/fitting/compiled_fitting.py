"""What the tests of the compiled loss and optimiser share."""

from __future__ import annotations

import pytest
from torch import Tensor

from splatlearn.fitting import compiled

native = compiled.native
needs_compiled = pytest.mark.skipif(native is None, reason="the package was built without a compiler")
SETS = [] if native is None else native.instruction_sets()


def away(found: Tensor, wanted: Tensor) -> float:
    """Relative L2 distance; 0 where both are 0."""
    error, length = (found - wanted).norm().item(), wanted.norm().item()
    return error / length if length else error
