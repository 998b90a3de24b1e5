"""Operations that autograd, torch.compile and export see as single nodes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

Function = Callable[..., Any]


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
    - `setup_context`, `backward`: its derivative; without them it has none.

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
