"""What the tests of the compiled layers share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splatlearn.models.nn import layers

compiled = layers.native
needs_compiled = pytest.mark.skipif(compiled is None, reason="the package was built without a compiler")
SETS = [] if compiled is None else compiled.instruction_sets()


def away(found: Tensor, wanted: Tensor) -> float:
    """Relative L2 distance."""
    return ((found - wanted).norm() / wanted.norm()).item()


def negated(values: Tensor) -> Tensor:
    """A view that reads the same memory with the other sign."""
    return torch._neg_view(values)  # pyright: ignore[reportPrivateImportUsage]
