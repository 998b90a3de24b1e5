"""Compiled residual halves against float64: each function between the matrix products, and whole blocks."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations

from compiled_code import away, needs, negated
from splatlearn.models.nn import fused_block, layers
from splatlearn.models.nn.attention import Attention
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.fused_block import fused_residual
from splatlearn.models.nn.layers import plain_layers
from splatlearn.models.nn.mlp import Mlp

pytestmark = needs(layers.native)
Half = tuple[nn.LayerNorm, Attention | Mlp]
KINDS = [torch.float32, torch.bfloat16]
ROUNDED = {torch.float32: 1e-6, torch.bfloat16: 2**-8}
"""Largest relative error of a result that is rounded once."""
SIZES = [(1, 16), (5, 48), (64, 192), (130, 80), (300, 768)]
"""Rows, which threads take by 64, and widths, some of which end in the middle of several vectors."""


def assert_rounded_once(found: Tensor, wanted: Tensor, kind: torch.dtype) -> None:
    assert found.dtype == kind
    torch.testing.assert_close(found.double(), wanted, rtol=ROUNDED[kind], atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "width"), SIZES)
def test_norm(rows: int, width: int, kind: torch.dtype, instruction_set: str, generator: torch.Generator) -> None:
    x = 3.0 + 2.0 * torch.randn(rows, width, generator=generator)
    scale, shift = torch.randn(2, width, generator=generator)
    past, gradient = torch.randn(2, rows, width, generator=generator)
    gradient = gradient.to(kind)
    exact = [each.double().requires_grad_() for each in (x, scale, shift)]
    wanted = F.layer_norm(exact[0], (width,), exact[1], exact[2], 1e-6)
    found, statistics = fused_block._norm(x, scale, shift, 1e-6, kind)
    assert_rounded_once(found, wanted, kind)
    torch.testing.assert_close(statistics[0].double(), exact[0].mean(dim=1), rtol=1e-6, atol=1e-6)
    slopes = torch.autograd.grad(wanted, exact, gradient.double())
    of_x, of_scale, of_shift = fused_block._norm_backward(x, scale, statistics, gradient, past)
    torch.testing.assert_close(of_x.double(), slopes[0] + past.double(), rtol=1e-5, atol=1e-5)
    assert away(of_scale.double(), slopes[1]) < 1e-5 and away(of_shift.double(), slopes[2]) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "width"), SIZES)
def test_between_products(
    rows: int, width: int, kind: torch.dtype, instruction_set: str, generator: torch.Generator
) -> None:
    x, other = torch.randn(2, rows, width, generator=generator)
    bias = torch.randn(width, generator=generator)
    short, shorter = x.to(kind), other.to(kind)
    wanted = x.double() + shorter.double() + bias.double()
    assert_rounded_once(fused_block._added(x, shorter, bias), wanted, torch.float32)

    found, sums = fused_block._narrowed(x, kind)
    assert torch.equal(found, short)
    assert away(sums.double(), x.double().sum(0)) < 1e-5
    assert away(fused_block._column_sums(short).double(), short.double().sum(0)) < 1e-5

    product, wanted = short.clone(), short.double() * shorter.double()
    sums = fused_block._sloped(product, shorter)
    assert_rounded_once(product, wanted, kind)
    assert away(sums.double(), wanted.sum(0)) < 1e-5

    exact = (short.double() + bias.double()).requires_grad_()
    wanted, hidden = F.gelu(exact), short.clone()
    assert_rounded_once(fused_block._gelu_and_slope(hidden, bias), wanted, kind)
    assert_rounded_once(hidden, torch.autograd.grad(wanted.sum(), exact)[0], kind)


def block_of(width: int, heads: int, generator: torch.Generator) -> Block:
    block = Block(width, heads)
    for parameter in block.parameters():
        nn.init.normal_(parameter, mean=0.02, std=0.08, generator=generator)
    return block


def passed(block: nn.Module, tokens: Tensor, weights: Tensor) -> list[Tensor]:
    """A block's result, and the gradients of its tokens and parameters."""
    result = block(tokens)
    return [result, *torch.autograd.grad(result, [tokens, *block.parameters()], weights, materialize_grads=True)]


def is_whole(result: Tensor) -> bool:
    return type(result.grad_fn).__name__ == "_ResidualBackward"


@pytest.fixture
def tokens(generator: torch.Generator) -> Tensor:
    return torch.randn(3, 17, 96, generator=generator).requires_grad_()


@pytest.fixture
def weights(generator: torch.Generator) -> Tensor:
    return torch.randn(3, 17, 96, generator=generator)


def test_a_block(instruction_set: str, tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    exact = copy.deepcopy(block).double()
    wanted = passed(exact, tokens.detach().double().requires_grad_(), weights.double())
    found = passed(block, tokens, weights)
    assert is_whole(found[0]) and not is_whole(wanted[0])
    for each, other in zip(found, wanted, strict=True):
        assert each.dtype == torch.float32 and away(each.double(), other) < 3e-6


def test_a_block_in_bfloat16(instruction_set: str, tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    exact = copy.deepcopy(block).double()
    wanted = passed(exact, tokens.detach().double().requires_grad_(), weights.double())
    with torch.autocast("cpu", torch.bfloat16):
        # The backward pass too: it must not mind.
        found = passed(block, tokens, weights)
        with plain_layers():
            by_pieces = passed(block, tokens, weights)
    assert is_whole(found[0]) and not is_whole(by_pieces[0])
    for each, piece, other in zip(found, by_pieces, wanted, strict=True):
        assert each.dtype == torch.float32
        assert away(each.double(), other) < min(1e-2, 1.3 * away(piece.double(), other))


def test_threads_change_nothing(generator: torch.Generator, threads: Callable[[int], None]) -> None:
    x, gradient = torch.randn(2, 500, 64, generator=generator)
    scale, found = torch.ones(64), []
    for count in (1, 2):
        threads(count)
        normed, statistics = fused_block._norm(x, scale, scale, 1e-6, torch.bfloat16)
        back = fused_block._norm_backward(x, scale, statistics, gradient, x)
        found.append((normed, *back, *fused_block._narrowed(x, torch.bfloat16), fused_block._column_sums(x)))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(
    value: float, instruction_set: str, tokens: Tensor, generator: torch.Generator
) -> None:
    block = block_of(96, 3, generator)
    with torch.no_grad():
        tokens[1, 2, 3] = value
    assert not block(tokens)[1].isfinite().all()


def test_frozen_parameters_get_no_gradient(tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    everything = passed(block, tokens, weights)
    block.requires_grad_(False)
    block.attn.qkv.weight.requires_grad_()
    block.norm2.bias.requires_grad_()
    result = block(tokens)
    assert is_whole(result) and torch.equal(result, everything[0])
    result.backward(weights)
    names = [name for name, _ in block.named_parameters()]
    for name, wanted in zip(names, everything[2:], strict=True):
        gradient = block.get_parameter(name).grad
        if name in ("attn.qkv.weight", "norm2.bias"):
            assert gradient is not None and torch.equal(gradient, wanted)
        else:
            assert gradient is None
    assert tokens.grad is not None and torch.equal(tokens.grad, everything[1])


def test_without_gradients(tokens: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    wanted = block(tokens)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = block(tokens)
        assert torch.equal(found, wanted) and not found.requires_grad
    turned = tokens.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(block(turned), wanted)


def test_second_derivatives(tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    exact = copy.deepcopy(block).double()
    # The gradient's own gradient: of the tokens and of a weight.
    found = []
    for each, at in ((block, tokens), (exact, tokens.detach().double().requires_grad_())):
        inputs = [at, each.mlp.fc1.weight]
        # PyTorch's fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            slopes = torch.autograd.grad(each(at), inputs, weights.to(at.dtype), create_graph=True)
        total = torch.stack([slope.square().sum() for slope in slopes]).sum()
        found.append(torch.autograd.grad(total, inputs))
    for first, other in zip(*found, strict=True):
        assert away(first.double(), other) < 1e-4


def test_function_transforms_go_by_pieces(tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    block = block_of(96, 3, generator)
    learned = dict(block.named_parameters())

    def total(parameters: dict[str, Tensor]) -> Tensor:
        return (torch.func.functional_call(block, parameters, (tokens,)) * weights).sum()

    found = torch.func.grad(total)({name: each.detach() for name, each in learned.items()})
    for name, wanted in zip(learned, passed(block, tokens, weights)[2:], strict=True):
        assert away(found[name], wanted) < 1e-5


def test_many_gradients_at_once(generator: torch.Generator) -> None:
    block, tokens = block_of(32, 2, generator), torch.randn(1, 3, 32, generator=generator)

    def total(tokens: Tensor) -> Tensor:
        return block(tokens).sum((0, 1))

    one_by_one, at_once = (torch.autograd.functional.jacobian(total, tokens, vectorize=many) for many in (False, True))
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-5)


def test_negated_views(tokens: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    # Their memory has the other sign.
    block = block_of(96, 3, generator)
    view, wanted = negated(tokens), passed(block, (-tokens.detach()).requires_grad_(), weights)
    torch.testing.assert_close(block(view), wanted[0], rtol=1e-4, atol=1e-5)
    result = block(-tokens)
    torch.testing.assert_close(
        torch.autograd.grad(result, block.norm1.weight, negated(weights))[0], -wanted[2], rtol=1e-3, atol=1e-4
    )


TRACED = """
import torch
from splatlearn.models.nn.block import Block

torch.manual_seed(0)
block, tokens = Block(32, 2), torch.randn(2, 5, 32)
traced = torch.compile(block, fullgraph=True, backend="eager")
torch.testing.assert_close(traced(tokens), block(tokens), rtol=1e-4, atol=1e-5)
print("ok")
"""


def test_one_graph_under_torch_compile() -> None:
    # In a process without the tests' shape checks, which cannot be traced.
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr


def hooked(block: Block) -> None:
    block.attn.proj.register_forward_hook(lambda module, given, result: result.mul(2.0))


def hooked_before(block: Block) -> None:
    block.mlp.register_forward_pre_hook(lambda module, given: (2.0 * given[0],))


def hooked_backward(block: Block) -> None:
    block.norm1.register_full_backward_hook(lambda module, inner, outer: (2.0 * inner[0],))


def replaced(block: Block) -> None:
    block.mlp.fc1 = nn.Sequential(block.mlp.fc1, nn.Dropout(0.0), nn.ReLU())  # pyright: ignore[reportAttributeAccessIssue]


def another_mlp(block: Block) -> None:
    block.mlp = nn.Linear(96, 96)  # pyright: ignore[reportAttributeAccessIssue]


def parametrised(block: Block) -> None:
    parametrizations.weight_norm(block.attn.qkv)


def without_bias(block: Block) -> None:
    block.attn.qkv.register_parameter("bias", None)


def with_another_forward(block: Block) -> None:
    block.mlp.fc2.forward = lambda given: given[..., :96]  # pyright: ignore[reportAttributeAccessIssue]


def with_another_parameter(block: Block) -> None:
    block.mlp.fc1.register_parameter("gain", nn.Parameter(torch.ones(1)))


def skipping(block: Block) -> None:
    block.drop_path = 0.3


@pytest.mark.parametrize(
    "change",
    [
        hooked,
        hooked_before,
        hooked_backward,
        replaced,
        another_mlp,
        parametrised,
        without_bias,
        with_another_forward,
        with_another_parameter,
        skipping,
    ],
)
def test_what_more_than_parameters_has_a_say_in(
    change: Callable[[Block], None], tokens: Tensor, weights: Tensor, generator: torch.Generator
) -> None:
    block = block_of(96, 3, generator)
    change(block)
    found = []
    for plain in (False, True):
        torch.manual_seed(1)
        if plain:
            with plain_layers():
                found.append(passed(block, tokens, weights))
        else:
            found.append(passed(block, tokens, weights))
    for each, other in zip(*found, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-4, atol=1e-5)


def test_hooks_of_all_modules_are_called(tokens: Tensor, generator: torch.Generator) -> None:
    block, seen = block_of(96, 3, generator), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, result: seen.append(type(module)))
    try:
        block(tokens)
    finally:
        handle.remove()
    assert seen.count(nn.Linear) == 4 and seen.count(nn.LayerNorm) == 2


def test_what_it_does_not_take(tokens: Tensor, generator: torch.Generator) -> None:
    def halves(block: Block) -> tuple[Half, Half]:
        return (block.norm1, block.attn), (block.norm2, block.mlp)

    block = block_of(96, 3, generator)
    assert fused_residual(tokens, *halves(block)) is not None
    assert fused_residual(tokens.double(), *halves(block)) is None
    assert fused_residual(tokens[:0], *halves(block)) is None
    assert fused_residual(tokens.to("meta"), *halves(block)) is None
    assert fused_residual(tokens, *halves(block_of(96, 12, generator))) is None  # heads of 8 numbers
    assert fused_residual(tokens, *halves(block_of(96, 3, generator).bfloat16())) is None
    with torch.autocast("cpu", torch.float16):
        assert fused_residual(tokens, *halves(block)) is None
    with plain_layers():
        assert fused_residual(tokens, *halves(block)) is None
    many = torch.randn(1, 600, 96, generator=generator)
    assert fused_residual(many, *halves(block)) is None and fused_residual(many, halves(block)[1]) is not None
    narrow = block_of(24, 1, generator)
    assert fused_residual(torch.randn(1, 3, 24, generator=generator), halves(narrow)[1]) is None
