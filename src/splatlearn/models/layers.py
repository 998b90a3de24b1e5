"""GELU and attention: PyTorch's, or on a CPU in float32 and bfloat16 the compiled ones, which take less time.

Both compute the same to rounding; of bfloat16 the compiled ones round the results alone. torch.compile, export,
function transforms and second derivatives take PyTorch's.

Letters in shapes: B images, h heads, N tokens, M of them that ask, D width.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.autograd import forward_ad

try:
    # After torch, so that both share the OpenMP runtime that torch brings.
    from splatlearn.models import _layers
except ImportError:
    _layers = None

_state = {"plain": False}
_ARRAYS = {torch.float32: torch.float32, torch.bfloat16: torch.uint16}
"""What the compiled layers take, and how NumPy, which has no bfloat16, sees it."""


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Inside, GELU and attention are PyTorch's everywhere, to compare with."""
    before, _state["plain"] = _state["plain"], True
    try:
        yield
    finally:
        _state["plain"] = before


def gelu(values: Tensor) -> Tensor:
    """The exact GELU, x·Φ(x) (arXiv 1606.08415)."""
    if _compiled_can_take(values) and values.is_contiguous():
        return _Gelu.apply(values)
    return F.gelu(values)


def attention(heads: int, *vectors: Tensor) -> Float[Tensor, "B M D"]:
    """What tokens take from others: softmax(q·kᵀ / sqrt(D/h))·v in each head, the heads' results beside one another.

    `vectors`: q, k and v behind one another along their last axis, [B, N, 3·D]; or q [B, M, D] and the others
    [B, N, 2·D].
    """
    width = sum(each.shape[-1] for each in vectors) // 3
    if (
        _layers is not None
        and _compiled_can_take(*vectors)
        and all(each.stride(-1) == 1 for each in vectors)
        and width % (heads * _layers.WIDTH_STEP) == 0
        and 0 < vectors[-1].shape[1] <= _layers.MOST_KEYS
    ):
        return _Attention.apply(heads, *vectors)
    return _plain_attention(heads, vectors)


def _plain_attention(heads: int, vectors: tuple[Tensor, ...]) -> Tensor:
    query, key, value = _parts(heads, vectors)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _parts(heads: int, vectors: tuple[Tensor, ...]) -> list[Tensor]:
    """Views of q, k and v by heads, [B, h, N, D/h]."""
    width = sum(each.shape[-1] for each in vectors) // 3
    parts = [part for each in vectors for part in each.split(width, dim=-1)]
    return [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts]


def _compiled_can_take(*tensors: Tensor) -> bool:
    kind = tensors[0].dtype
    return (
        _layers is not None
        and not _state["plain"]
        and kind in _ARRAYS
        and all(type(each) is Tensor and each.dtype == kind and each.device.type == "cpu" for each in tensors)
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not any(is_functorch_wrapped_tensor(each) for each in tensors)
        and forward_ad._current_level < 0
    )


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        assert _layers is not None
        ctx.save_for_backward(values)
        result = torch.empty_like(values)
        _layers.gelu(_array(values).reshape(-1), _array(result).reshape(-1), torch.get_num_threads())
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        assert _layers is not None
        (values,), (gradient,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():
            return torch.autograd.grad(F.gelu(values), values, gradient, create_graph=True)[0]
        result = torch.empty_like(values)
        arrays = [_array(each).reshape(-1) for each in (values, gradient.contiguous(), result)]
        _layers.gelu_backward(arrays[0], arrays[1], arrays[2], torch.get_num_threads())
        return result


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: int, *vectors: Tensor) -> Tensor:
        assert _layers is not None
        ctx.heads = heads
        ctx.save_for_backward(*vectors)
        query, key, value = _parts(heads, vectors)
        result = query.new_empty(query.shape[0], query.shape[2], heads * query.shape[3])
        out = result.unflatten(-1, (heads, -1)).transpose(1, 2)
        _layers.attend(_array(query), _array(key), _array(value), _array(out), torch.get_num_threads())
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        assert _layers is not None
        vectors, (gradient,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():
            # Written out: PyTorch's fused attention on a CPU has no second derivative.
            query, key, value = _parts(ctx.heads, vectors)
            weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1)
            result = (weights @ value).transpose(1, 2).flatten(2)
            return None, *torch.autograd.grad(result, vectors, gradient, create_graph=True)
        results = [each.new_empty(each.shape) for each in vectors]
        asked = gradient.contiguous().unflatten(-1, (ctx.heads, -1)).transpose(1, 2)
        arrays = [*_parts(ctx.heads, vectors), asked, *_parts(ctx.heads, tuple(results))]
        _layers.attend_backward(*(_array(each) for each in arrays), torch.get_num_threads())
        return None, *results


def _array(tensor: Tensor) -> Any:
    return tensor.detach().view(_ARRAYS[tensor.dtype]).numpy()
