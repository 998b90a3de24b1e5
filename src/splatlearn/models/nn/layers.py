"""GELU and attention: PyTorch's, or on a CPU in float32 and bfloat16 the compiled ones, which take less time.

Both compute the same to rounding; of bfloat16 the compiled ones round the results alone. torch.compile, export,
function transforms and second derivatives take PyTorch's.

Letters in shapes: B images, h heads, N tokens (keys), M queries, D embedding dimension.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from splatlearn.core.native import share_openmp, why_missing
from splatlearn.core.operation import is_batched, is_recorded, transforms_active

try:
    share_openmp()
    from splatlearn.models import _layers as native

    MISSING = ""
except ImportError as error:
    native = None
    MISSING = why_missing(error)

if TYPE_CHECKING:
    from splatlearn.models._layers import Kind, Sizes, Tokens

_state = {"plain": False}
KINDS = (torch.float32, torch.bfloat16)
"""Dtypes supported by the compiled layers."""


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Use PyTorch's GELU and attention everywhere inside the block, for comparisons."""
    before, _state["plain"] = _state["plain"], True
    try:
        yield
    finally:
        _state["plain"] = before


def gelu(values: Tensor) -> Tensor:
    """The exact GELU, x·Φ(x) (arXiv 1606.08415)."""
    if compiled_can_take(values) and values.is_contiguous():
        return _Gelu.apply(values)
    return F.gelu(values)


def attention(num_heads: int, *vectors: Tensor) -> Float[Tensor, "B M D"]:
    """Multi-head attention: softmax(q·kᵀ / sqrt(D/h))·v of each head, the heads concatenated.

    `vectors`: q, k and v concatenated along the last axis, [B, N, 3·D]; or q [B, M, D], and k and v [B, N, 2·D].
    """
    embed_dim = sum(each.shape[-1] for each in vectors) // 3
    if (
        compiled_can_take(*vectors)
        and all(each.stride(-1) == 1 for each in vectors)
        and attention_fits(num_heads, embed_dim, vectors[-1].shape[1])
    ):
        return _Attention.apply(num_heads, *vectors)
    return _plain_attention(num_heads, vectors)


def _plain_attention(num_heads: int, vectors: tuple[Tensor, ...]) -> Tensor:
    query, key, value = _parts(num_heads, vectors)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _parts(num_heads: int, vectors: tuple[Tensor, ...]) -> list[Tensor]:
    """Views of q, k and v by heads, [B, h, N, D/h]."""
    embed_dim = sum(each.shape[-1] for each in vectors) // 3
    parts = [part for each in vectors for part in each.split(embed_dim, dim=-1)]
    return [part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in parts]


def attention_fits(num_heads: int, embed_dim: int, keys: int) -> bool:
    """Whether the compiled attention supports this number of heads, embedding dimension and number of keys."""
    return native is not None and embed_dim % (num_heads * native.WIDTH_STEP) == 0 and 0 < keys <= native.MOST_KEYS


def compiled_can_take(*tensors: Tensor) -> bool:
    """Whether the compiled layers support these tensors in the present mode of PyTorch."""
    kind = tensors[0].dtype
    return (
        native is not None
        and not _state["plain"]
        # First of all: torch.compile cannot trace some of what follows.
        and not is_recorded()
        and not transforms_active()
        and kind in KINDS
        and all(
            # A negated view's memory has the other sign.
            type(each) in (Tensor, Parameter) and each.dtype == kind and each.is_cpu and not each.is_neg()
            for each in tensors
        )
    )


def compiled_can_take_back(gradient: Tensor) -> bool:
    """Whether the compiled backward pass supports this gradient: a plain tensor, with neither graph nor tangent."""
    return not (torch.is_grad_enabled() or transforms_active() or is_batched(gradient) or gradient.is_neg())


def gradients_by_pieces(
    forward: Callable[[], Tensor], inputs: Sequence[Tensor], gradient: Tensor
) -> tuple[Tensor, ...]:
    """Compute the gradients of `inputs` with PyTorch's operations, differentiably if gradients are recorded."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        result = forward()
    return torch.autograd.grad(result, inputs, gradient, create_graph=again)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        result = torch.empty_like(values)
        of_kind(values.dtype).gelu(values.data_ptr(), result.data_ptr(), values.numel(), torch.get_num_threads())
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,), (gradient,) = ctx.saved_tensors, gradients
        if not compiled_can_take_back(gradient):
            return gradients_by_pieces(lambda: F.gelu(values), [values], gradient)[0]
        gradient, result = gradient.contiguous(), torch.empty_like(values)
        addresses = values.data_ptr(), gradient.data_ptr(), result.data_ptr()
        of_kind(values.dtype).gelu_backward(*addresses, values.numel(), torch.get_num_threads())
        return result


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, num_heads: int, *vectors: Tensor) -> Tensor:
        ctx.num_heads = num_heads
        ctx.save_for_backward(*vectors)
        return attend(num_heads, *vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        vectors, (gradient,) = ctx.saved_tensors, gradients
        if not compiled_can_take_back(gradient):

            def written_out() -> Tensor:
                # PyTorch's fused attention on a CPU has no second derivative.
                query, key, value = _parts(ctx.num_heads, vectors)
                weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1)
                return (weights @ value).transpose(1, 2).flatten(2)

            return None, *gradients_by_pieces(written_out, vectors, gradient)
        return None, *attend_backward(ctx.num_heads, gradient.contiguous(), *vectors)


def attend(num_heads: int, *vectors: Tensor) -> Float[Tensor, "B M D"]:
    """Compute `attention` with the compiled kernel; nothing is recorded for autograd."""
    sizes, places = _places(num_heads, vectors)
    result = vectors[0].new_empty(*vectors[0].shape[:2], vectors[-1].shape[-1] // (4 - len(vectors)))
    of_kind(result.dtype).attend(sizes, *places, _place(result), torch.get_num_threads())
    return result


def attend_backward(num_heads: int, gradient: Float[Tensor, "B M D"], *vectors: Tensor) -> list[Tensor]:
    """Compute the gradients of `vectors` from the contiguous gradient of the result of `attend`."""
    sizes, places = _places(num_heads, vectors)
    results = [each.new_empty(each.shape) for each in vectors]
    _, found = _places(num_heads, results)
    of_kind(gradient.dtype).attend_backward(sizes, *places, _place(gradient), *found, torch.get_num_threads())
    return results


def _places(num_heads: int, vectors: Sequence[Tensor]) -> tuple[Sizes, list[Tokens]]:
    """Sizes of an attention, and the addresses of its queries, keys and values."""
    assert native is not None
    first, last = vectors[0], vectors[-1]
    embed_dim = last.shape[-1] // (4 - len(vectors))
    sizes = native.Sizes(first.shape[0], num_heads, first.shape[1], last.shape[1], embed_dim // num_heads)
    behind = embed_dim if len(vectors) == 1 else 0
    return sizes, [_place(first), _place(last, behind), _place(last, behind + embed_dim)]


def _place(tokens: Tensor, skipped: int = 0) -> Tokens:
    """Address and strides of the tokens, starting `skipped` numbers into each token."""
    assert native is not None
    return native.Tokens(tokens.data_ptr() + skipped * tokens.element_size(), tokens.stride(0), tokens.stride(1))


def of_kind(kind: torch.dtype) -> Kind:
    """The compiled functions for a dtype."""
    assert native is not None
    return native.float32 if kind == torch.float32 else native.bfloat16
