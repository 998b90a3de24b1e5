"""Residual halves of pre-norm blocks as one operation on a CPU, forward and backward.

What PyTorch does between the matrix products of a block (norms in float32, their casts, the casts of their gradients,
biases and their sums, residual sums) is dozens of operations, each of which takes time to be called and reads and
writes every number again. Here each is part of one pass over memory, and a block is one node of the graph. With
bfloat16 products all between them is computed in float32 and rounded once, and the residual stream is float32.

Letters in shapes: B images, T tokens, R all tokens of a batch, D E widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.operation import has_global_hooks, has_hooks
from splatlearn.models.nn.attention import Attention
from splatlearn.models.nn.layers import (
    KINDS,
    attend,
    attend_backward,
    attention,
    attention_fits,
    compiled_can_take,
    compiled_can_take_back,
    gelu,
    gradients_by_pieces,
    native,
    of_kind,
)
from splatlearn.models.nn.mlp import Mlp

Gradients = list[Tensor | None]


@dataclass(frozen=True)
class AttentionHalf:
    """tokens + proj(attention(qkv(norm(tokens))))."""

    num_heads: int
    norm: nn.Module
    qkv: nn.Module
    proj: nn.Module

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Layers in the order of their parameters, each with a weight and a bias."""
        return self.norm, self.qkv, self.proj

    def fits(self, tokens: Float[Tensor, "B T D"], given: Sequence[Tensor]) -> bool:
        """Whether the compiled functions support tokens and parameters of these shapes."""
        embed_dim = tokens.shape[2]
        return _have_shapes(given, embed_dim, 3 * embed_dim, embed_dim) and attention_fits(
            self.num_heads, embed_dim, tokens.shape[1]
        )

    def forward(self, tokens: Float[Tensor, "B T D"], given: Sequence[Tensor], kind: torch.dtype) -> list[Tensor]:
        """Return the result, followed by the tensors that `backward` needs."""
        scale, shift, qkv, qkv_bias, proj, proj_bias = given
        rows, qkv, proj = tokens.flatten(0, 1), qkv.to(kind), proj.to(kind)
        normed, statistics = _norm(rows, scale, shift, _epsilon(self.norm), kind)
        vectors = torch.addmm(qkv_bias.to(kind), normed, qkv.t()).view(tokens.shape[0], tokens.shape[1], -1)
        mixed = attend(self.num_heads, vectors).flatten(0, 1)
        result = _added(rows, torch.mm(mixed, proj.t()), proj_bias)
        return [result.view(tokens.shape), rows, scale, qkv, proj, normed, statistics, vectors, mixed]

    def backward(
        self, past: Float[Tensor, "R D"], saved: Sequence[Tensor], needed: Sequence[bool]
    ) -> tuple[Tensor, Gradients]:
        """Compute the gradients of the tokens [R, D] and of the parameters from that of the result."""
        rows, scale, qkv, proj, normed, statistics, vectors, mixed = saved
        _, _, of_qkv, _, of_proj, _ = needed
        asked, proj_bias = _narrowed(past, qkv.dtype)
        proj_weight = torch.mm(asked.t(), mixed).float() if of_proj else None
        (slopes,) = attend_backward(self.num_heads, torch.mm(asked, proj).view(*vectors.shape[:2], -1), vectors)
        slopes = slopes.flatten(0, 1)
        qkv_weight = torch.mm(slopes.t(), normed).float() if of_qkv else None
        result, of_scale, of_shift = _norm_backward(rows, scale, statistics, torch.mm(slopes, qkv), past)
        return result, [of_scale, of_shift, qkv_weight, _column_sums(slopes), proj_weight, proj_bias]

    def by_pieces(self, tokens: Tensor, given: Sequence[Tensor]) -> Tensor:
        """Compute the same with PyTorch's operations."""
        scale, shift, qkv, qkv_bias, proj, proj_bias = given
        normed = F.layer_norm(tokens, scale.shape, scale, shift, _epsilon(self.norm))
        return tokens + F.linear(attention(self.num_heads, F.linear(normed, qkv, qkv_bias)), proj, proj_bias)


@dataclass(frozen=True)
class MlpHalf:
    """tokens + fc2(gelu(fc1(norm(tokens)))), the GELU exact."""

    norm: nn.Module
    fc1: nn.Module
    fc2: nn.Module

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """Layers in the order of their parameters, each with a weight and a bias."""
        return self.norm, self.fc1, self.fc2

    def fits(self, tokens: Float[Tensor, "B T D"], given: Sequence[Tensor]) -> bool:
        """Whether the compiled functions support tokens and parameters of these shapes."""
        return _have_shapes(given, tokens.shape[2], given[3].shape[0], given[3].shape[0])

    def forward(self, tokens: Float[Tensor, "B T D"], given: Sequence[Tensor], kind: torch.dtype) -> list[Tensor]:
        """Return the result, followed by the tensors that `backward` needs."""
        scale, shift, fc1, fc1_bias, fc2, fc2_bias = given
        rows, fc1, fc2 = tokens.flatten(0, 1), fc1.to(kind), fc2.to(kind)
        normed, statistics = _norm(rows, scale, shift, _epsilon(self.norm), kind)
        hidden = torch.mm(normed, fc1.t())
        active = _gelu_and_slope(hidden, fc1_bias)
        result = _added(rows, torch.mm(active, fc2.t()), fc2_bias)
        return [result.view(tokens.shape), rows, scale, fc1, fc2, normed, statistics, hidden, active]

    def backward(
        self, past: Float[Tensor, "R D"], saved: Sequence[Tensor], needed: Sequence[bool]
    ) -> tuple[Tensor, Gradients]:
        """Compute the gradients of the tokens [R, D] and of the parameters from that of the result."""
        rows, scale, fc1, fc2, normed, statistics, slopes, active = saved
        _, _, of_fc1, _, of_fc2, _ = needed
        asked, fc2_bias = _narrowed(past, fc1.dtype)
        fc2_weight = torch.mm(asked.t(), active).float() if of_fc2 else None
        of_hidden = torch.mm(asked, fc2)
        fc1_bias = _sloped(of_hidden, slopes)
        fc1_weight = torch.mm(of_hidden.t(), normed).float() if of_fc1 else None
        result, of_scale, of_shift = _norm_backward(rows, scale, statistics, torch.mm(of_hidden, fc1), past)
        return result, [of_scale, of_shift, fc1_weight, fc1_bias, fc2_weight, fc2_bias]

    def by_pieces(self, tokens: Tensor, given: Sequence[Tensor]) -> Tensor:
        """Compute the same with PyTorch's operations."""
        scale, shift, fc1, fc1_bias, fc2, fc2_bias = given
        normed = F.layer_norm(tokens, scale.shape, scale, shift, _epsilon(self.norm))
        return tokens + F.linear(gelu(F.linear(normed, fc1, fc1_bias)), fc2, fc2_bias)


Half = AttentionHalf | MlpHalf
PARAMETERS = 6
"""Number of parameter tensors of an attention or MLP half."""
SAVED = 8
"""Number of tensors that a half saves for its backward pass."""


def fused_residual(
    tokens: Float[Tensor, "B T D"], *sub_layers: tuple[nn.Module, nn.Module]
) -> Float[Tensor, "B T D"] | None:
    """Apply `tokens + sub_layer(norm(tokens))` for each norm and sub-layer in turn, as one compiled operation.

    Returns None if the fused path does not apply (hooks, replaced sub-modules, function transforms, tracing, an
    unsupported device, dtype or embedding dimension). The caller then runs the sub-layers one at a time.
    """
    if (
        tokens.ndim != 3
        or tokens.dtype != torch.float32
        or not tokens.numel()
        or not compiled_can_take(tokens)
        or has_global_hooks()
    ):
        return None
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if kind not in KINDS or not all(_is_plain(layer, Attention, Mlp) for _, layer in sub_layers):
        return None
    halves = tuple(_half(norm, layer) for norm, layer in sub_layers)
    given = _own_parameters(part for half in halves for part in half.parts)
    if given is None or not all(half.fits(tokens, _of_half(given, index)) for index, half in enumerate(halves)):
        return None
    return _Residual.apply((kind, halves), tokens.contiguous(), *given)


def _half(norm: nn.Module, layer: nn.Module) -> Half:
    if isinstance(layer, Attention):
        return AttentionHalf(layer.num_heads, norm, layer.qkv, layer.proj)
    assert isinstance(layer, Mlp)
    return MlpHalf(norm, layer.fc1, layer.fc2)


def _is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether the module is exactly of one of these classes, without hooks or a replaced `forward`."""
    return type(module) in kinds and "forward" not in vars(module) and not has_hooks(module)


def _own_parameters(parts: Iterable[nn.Module]) -> list[Tensor] | None:
    """Return weights and biases, or None if a part is not a plain layer or they are not contiguous float32 on a CPU."""
    found: list[Tensor] = []
    for part in parts:
        own = list(part.parameters(recurse=False)) if _is_plain(part, nn.LayerNorm, nn.Linear) else []
        if len(own) != 2 or not all(map(_is_plain_tensor, own)):
            return None
        found += own
    return found


def _is_plain_tensor(value: Tensor) -> bool:
    is_own = type(value) in (Tensor, nn.Parameter)
    return is_own and value.dtype == torch.float32 and value.is_cpu and value.is_contiguous()


def _of_half(given: Sequence[Any], index: int) -> Sequence[Any]:
    """Return the items of `given` that belong to one half."""
    return given[PARAMETERS * index : PARAMETERS * (index + 1)]


def _have_shapes(given: Sequence[Tensor], embed_dim: int, outputs: int, inputs: int) -> bool:
    """Whether a norm and two linear layers have these sizes, each a multiple of the width of a vector."""
    assert native is not None
    wanted = ((embed_dim,), (embed_dim,), (outputs, embed_dim), (outputs,), (embed_dim, inputs), (embed_dim,))
    fit = all(each.shape == shape for each, shape in zip(given, wanted, strict=True))
    return fit and not any(size % native.WIDTH_STEP for size in (embed_dim, outputs, inputs))


def _epsilon(norm: nn.Module) -> float:
    assert isinstance(norm, nn.LayerNorm)
    return norm.eps


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: tuple[torch.dtype, tuple[Half, ...]], tokens: Tensor, *given: Tensor) -> Tensor:
        ctx.how = kind, halves = how
        saved, result = [], tokens
        for index, half in enumerate(halves):
            result, *kept = half.forward(result, _of_half(given, index), kind)
            saved += kept
        ctx.save_for_backward(tokens, *given, *saved)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (kind, halves), needed = ctx.how, ctx.needs_input_grad[1:]
        count = 1 + PARAMETERS * len(halves)
        inputs, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if not compiled_can_take_back(gradients[0]):
            asked = [each for each, need in zip(inputs, needed, strict=True) if need]
            results = gradients_by_pieces(lambda: _by_pieces(kind, halves, inputs), asked, gradients[0])
            return None, *_where(needed, results)
        found: Gradients = []
        with torch.autocast("cpu", enabled=False):
            past = gradients[0].contiguous().flatten(0, 1)
            for index in reversed(range(len(halves))):
                kept, own = saved[SAVED * index : SAVED * (index + 1)], _of_half(needed[1:], index)
                past, slopes = halves[index].backward(past, kept, own)
                found = slopes + found
        return None, past.view(gradients[0].shape), *found


def _by_pieces(kind: torch.dtype, halves: Sequence[Half], inputs: Sequence[Tensor]) -> Tensor:
    result = inputs[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        for index, half in enumerate(halves):
            result = half.by_pieces(result, _of_half(inputs[1:], index))
    return result


def _where(needed: Sequence[bool], found: Iterable[Tensor]) -> Gradients:
    """Put the gradients found where one is needed, and None elsewhere."""
    each = iter(found)
    return [next(each) if need else None for need in needed]


def _norm(
    rows: Float[Tensor, "R D"],
    scale: Float[Tensor, " D"],
    shift: Float[Tensor, " D"],
    epsilon: float,
    kind: torch.dtype,
) -> tuple[Float[Tensor, "R D"], Float[Tensor, "2 R"]]:
    """Layer norm of rows, with their means and inverse standard deviations."""
    result, statistics = torch.empty_like(rows, dtype=kind), rows.new_empty(2, rows.shape[0])
    asked = rows.data_ptr(), scale.data_ptr(), shift.data_ptr(), epsilon
    of_kind(kind).norm(*asked, result.data_ptr(), statistics.data_ptr(), *rows.shape, torch.get_num_threads())
    return result, statistics


def _norm_backward(
    rows: Float[Tensor, "R D"],
    scale: Float[Tensor, " D"],
    statistics: Float[Tensor, "2 R"],
    gradient: Float[Tensor, "R D"],
    past: Float[Tensor, "R D"],
) -> tuple[Float[Tensor, "R D"], Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Gradients of rows, scale and shift; `past` is the gradient of the residual path, added to that of the rows."""
    result, sums = torch.empty_like(rows), rows.new_empty(2, rows.shape[1])
    addresses = [each.data_ptr() for each in (rows, scale, statistics, gradient, past, result, sums)]
    of_kind(gradient.dtype).norm_backward(*addresses, *rows.shape, torch.get_num_threads())
    return result, sums[0], sums[1]


def _gelu_and_slope(hidden: Float[Tensor, "R E"], bias: Float[Tensor, " E"]) -> Float[Tensor, "R E"]:
    """Exact GELU of hidden + bias. `hidden` is overwritten with the derivative at that point."""
    result = torch.empty_like(hidden)
    addresses = hidden.data_ptr(), bias.data_ptr(), result.data_ptr()
    of_kind(hidden.dtype).gelu_and_slope(*addresses, *hidden.shape, torch.get_num_threads())
    return result


def _added(rows: Float[Tensor, "R D"], branch: Float[Tensor, "R D"], bias: Float[Tensor, " D"]) -> Float[Tensor, "R D"]:
    result = torch.empty_like(rows)
    addresses = rows.data_ptr(), branch.data_ptr(), bias.data_ptr(), result.data_ptr()
    of_kind(branch.dtype).added(*addresses, *rows.shape, torch.get_num_threads())
    return result


def _narrowed(rows: Float[Tensor, "R D"], kind: torch.dtype) -> tuple[Float[Tensor, "R D"], Float[Tensor, " D"]]:
    """Rows cast to a dtype, and the sums of their columns."""
    if kind == rows.dtype:
        return rows, _column_sums(rows)
    result, sums = torch.empty_like(rows, dtype=kind), rows.new_empty(rows.shape[1])
    addresses = rows.data_ptr(), result.data_ptr(), sums.data_ptr()
    of_kind(kind).narrowed(*addresses, *rows.shape, torch.get_num_threads())
    return result, sums


def _sloped(gradient: Float[Tensor, "R E"], slopes: Float[Tensor, "R E"]) -> Float[Tensor, " E"]:
    """Multiply a gradient by slopes in place, and return the sums of its columns."""
    sums = gradient.new_empty(gradient.shape[1], dtype=torch.float32)
    addresses = gradient.data_ptr(), slopes.data_ptr(), sums.data_ptr()
    of_kind(gradient.dtype).sloped(*addresses, *gradient.shape, torch.get_num_threads())
    return sums


def _column_sums(rows: Float[Tensor, "R E"]) -> Float[Tensor, " E"]:
    sums = rows.new_empty(rows.shape[1], dtype=torch.float32)
    of_kind(rows.dtype).column_sums(rows.data_ptr(), sums.data_ptr(), *rows.shape, torch.get_num_threads())
    return sums
