"""What the compiled backends cannot differentiate, and how they say so."""

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
"""What the compiled backends cannot do, and what can."""


def refuse_transforms(name: str, compiled: bool, *gradients: Tensor) -> None:
    """Raise BackendError where a backward pass is itself to be transformed and cannot be: a compiled one never can."""
    if any(is_legacy_batchedtensor(each) for each in gradients):
        raise BackendError(
            f"{name}: expected one gradient at a time, got a batch (vectorize=True, is_grads_batched=True); "
            "use torch.func.jacrev or torch.func.vmap"
        )
    if compiled and is_transformed(*gradients):
        raise BackendError(f"{name}: the compiled renderer cannot be used here: {FIRST_ONLY}")


def has_no_second_derivative(name: str) -> Function:
    """The derivative of a compiled operation's backward pass: a BackendError, where autograd alone would give 0."""

    def backward(ctx: Any, *gradients: Any) -> Any:
        raise BackendError(f"{name}: the compiled renderer cannot be used here: {FIRST_ONLY}")

    return backward
