"""Errors for derivatives that the compiled backends do not have."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor  # pyright: ignore[reportMissingImports]

from splatlearn.core.errors import BackendError
from splatlearn.core.operation import Function, is_transformed

FIRST_ONLY = (
    "it has first derivatives by reverse mode alone; the specification, backend='torch', has second derivatives, "
    "forward mode and function transforms (vmap, jvp, hessian), and float64 makes them exact (for a model: .double())"
)
"""The limit of the compiled backends, and the alternative, as a part of error messages."""


def refuse_transforms(name: str, compiled: bool, *gradients: Tensor) -> None:
    """Raise BackendError if a backward pass is to be transformed and does not support it; compiled ones never do."""
    if any(is_legacy_batchedtensor(each) for each in gradients):
        raise BackendError(
            f"{name}: expected one gradient at a time, got a batch (vectorize=True, is_grads_batched=True); "
            "use torch.func.jacrev or torch.func.vmap"
        )
    if compiled and is_transformed(*gradients):
        raise BackendError(f"{name}: the compiled renderer cannot be used here: {FIRST_ONLY}")


def has_no_second_derivative(name: str) -> Function:
    """Return a derivative for a compiled backward pass that raises BackendError; without one, autograd would give 0."""

    def backward(ctx: Any, *gradients: Any) -> Any:
        raise BackendError(f"{name}: the compiled renderer cannot be used here: {FIRST_ONLY}")

    return backward
