"""What the tests of compiled extensions share: their instruction sets, and how results are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

NOT_BUILT = "the package was built without a compiler"


def needs(extension: Any) -> pytest.MarkDecorator:
    """Skips a test if an extension, which is then None, was not built."""
    return pytest.mark.skipif(extension is None, reason=NOT_BUILT)


def sets_of(extension: Any) -> list[Any]:
    """Parameters of a fixture: the sets that an extension has on this processor, or one that skips the test."""
    return [pytest.param("", marks=needs(None))] if extension is None else extension.instruction_sets()


@contextmanager
def switched(extension: Any, name: str) -> Iterator[str]:
    """Inside, an extension runs with this instruction set."""
    before = extension.instruction_set()
    extension.use_instruction_set(name)
    try:
        yield name
    finally:
        extension.use_instruction_set(before)


def away(found: Tensor, wanted: Tensor) -> float:
    """Relative L2 distance; 0 where both are 0."""
    error, length = (found - wanted).norm().item(), wanted.norm().item()
    return error / length if length else error


def negated(values: Tensor) -> Tensor:
    """A view that reads the same memory with the other sign."""
    return torch._neg_view(values)  # pyright: ignore[reportPrivateImportUsage]
