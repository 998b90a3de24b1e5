"""The compiled CPU kernels: whether they were built, what they take, and their instruction sets."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.native import share_openmp, why_missing
from splatlearn.rendering.formula import MAX_CHANNELS

try:
    share_openmp()
    from splatlearn.rendering import _native

    _MISSING = ""
except ImportError as error:
    _native = None
    _MISSING = why_missing(error)


def status() -> str:
    """Return "ok", or why the kernels are not there and what to install."""
    if _native is not None:
        return "ok"
    return f"not built: {_MISSING}"


def refusal(means2d: Tensor, channels: int) -> str | None:
    """Return why the backend cannot take these inputs, or None."""
    if means2d.device.type != "cpu":
        return f"it takes CPU tensors, got {means2d.device.type}"
    if means2d.dtype != torch.float32:
        return f"it computes in float32, got {means2d.dtype}"
    if channels > MAX_CHANNELS:
        return f"it takes up to {MAX_CHANNELS} channels, got {channels}"
    return None


def kernels() -> ModuleType:
    """Return the compiled extension, which must be there (see `status`)."""
    assert _native is not None, status()
    return _native


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Return tensors as contiguous arrays, as the extension takes them."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def instruction_sets() -> list[str]:
    """Return the instruction sets of this processor that the kernels were compiled for, slowest first."""
    return _native.instruction_sets() if _native is not None else []


def instruction_set() -> str:
    """Return the instruction set in use: the fastest, or the one that the variable ATEN_CPU_CAPABILITY names."""
    return kernels().instruction_set()


def use_instruction_set(name: str) -> str:
    """Switch to an instruction set, to compare, and return the previous one.

    Raises InputError for a set that this processor does not have.
    """
    before = instruction_set()
    if name not in instruction_sets():
        raise InputError(
            f"instruction set: this processor has no {name}; expected one of {', '.join(instruction_sets())}"
        )
    kernels().use_instruction_set(name)
    return before


def free_kept_memory() -> int:
    """Free the memory that scenes keep for the next call, and return its size in bytes."""
    return _native.free_kept_memory() if _native is not None else 0
