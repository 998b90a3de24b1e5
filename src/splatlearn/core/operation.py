"""Operations that autograd, torch.compile and export see as single nodes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active
from torch._C._functorch import is_legacy_batchedtensor  # pyright: ignore[reportMissingImports]
from torch.autograd import forward_ad

Function = Callable[..., Any]


def is_transformed(*tensors: Tensor) -> bool:
    """Whether forward-mode derivatives, vmap or another function transform act on tensors.

    Registered operations would drop tangents without a word and have no rules for batches.
    """
    if has_transforms():
        return True
    # Read here, so that torch.compile guards it.
    has_level = forward_ad._current_level >= 0
    if torch.compiler.is_compiling():
        return has_level
    return any(
        is_legacy_batchedtensor(each) or (has_level and forward_ad.unpack_dual(each).tangent is not None)
        for each in tensors
    )


def transforms_active() -> bool:
    """Whether a function transform or a level of forward-mode differentiation is active, whatever it acts on.

    PyTorch has no public way to ask.
    """
    return has_transforms() or forward_ad._current_level >= 0


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor is a batch of gradients (`is_grads_batched=True`); PyTorch has no public way to ask."""
    return is_legacy_batchedtensor(tensor)


def is_recorded() -> bool:
    """Whether torch.compile, torch.export or torch.jit.trace records what is computed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module runs hooks beside its `forward`; PyTorch has no public way to ask."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def has_global_hooks() -> bool:
    """Whether hooks on all modules are registered; PyTorch has no public way to ask."""
    return bool(nn.modules.module._has_any_global_hook())


def has_transforms() -> bool:
    """Whether a function transform (vmap, grad, …) is active; PyTorch has no public way to ask."""
    return _are_functorch_transforms_active()


# torch.compile calls it while it traces, as `torch.compiler.assume_constant_result` has it do, which takes seconds to
# import. It guards the transforms in force by itself.
has_transforms._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def operation(
    name: str,
    schema: str,
    function: Function,
    fake: Function,
    setup_context: Function | None = None,
    backward: Function | None = None,
) -> None:
    """Register `torch.ops.splatlearn.NAME`, in the way of `torch.library.custom_op` but for what that imports.

    - `schema`: its arguments and results. It is spelled out, because inferring it would evaluate annotations, which
      shape-checking import hooks wrap.
    - `fake`: makes the results' shapes and types from fake tensors.
    - `setup_context`, `backward`: its derivative; without them it has none, and autograd takes it for a constant.

    The first call of an operation made by `custom_op` imports the whole of torch.compile, which takes longer than most
    commands take otherwise.
    """
    qualified = f"splatlearn::{name}"
    torch.library.define(qualified, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(qualified, "default")(_untraced(function))
    torch.library.register_fake(qualified, fake)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)


def _untraced(function: Function) -> Function:
    """The same function, hidden from torch.compile wherever that has been imported."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        dynamo = sys.modules.get("torch._dynamo")
        return (function if dynamo is None else dynamo.disable(function))(*arguments)

    return call
