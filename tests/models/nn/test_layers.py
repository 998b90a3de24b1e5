"""The compiled GELU and attention against PyTorch's in float64, every output and every gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from compiled_code import away, needs, negated
from splatlearn.models import create_model, random_mask
from splatlearn.models.nn.attention import Common
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.layers import attention, gelu, native, plain_layers

needs_compiled = needs(native)


def is_compiled(result: Tensor) -> bool:
    return type(result.grad_fn).__name__ in ("_GeluBackward", "_AttentionBackward")


@needs_compiled
@pytest.mark.parametrize("count", [1, 7, 16, 16384, 40_003])
def test_gelu(count: int, instruction_set: str, generator: torch.Generator) -> None:
    values = (4 * torch.randn(count, generator=generator)).requires_grad_()
    weights = torch.randn(count, generator=generator)
    exact = values.detach().double().requires_grad_()
    found, wanted = gelu(values), F.gelu(exact)
    assert is_compiled(found)
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=1e-6)
    (slopes,), (wanted_slopes,) = (
        torch.autograd.grad(found, values, weights),
        torch.autograd.grad(wanted, exact, weights.double()),
    )
    torch.testing.assert_close(slopes.double(), wanted_slopes, atol=2e-6, rtol=1e-6)


@needs_compiled
def test_gelu_far_out(instruction_set: str) -> None:
    values = torch.tensor([0.0, -0.0, 1e-30, -13.0, -40.0, 40.0, 3e38, -3e38], requires_grad=True)
    found = gelu(values)
    assert found.tolist() == pytest.approx([0.0, 0.0, 5e-31, 0.0, 0.0, 40.0, 3e38, 0.0], rel=1e-6, abs=1e-30)
    (slopes,) = torch.autograd.grad(found, values, torch.ones_like(values))
    assert slopes.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 0.0], abs=1e-6)


SHAPES = [
    pytest.param(3, 17, None, 3, 64, id="an encoder's"),
    pytest.param(2, 65, 48, 3, 64, id="a last block's"),
    pytest.param(2, 197, None, 4, 32, id="many tokens"),
    pytest.param(1, 1, None, 1, 16, id="one token"),
    pytest.param(2, 5, 3, 2, 48, id="few tokens"),
    pytest.param(1, 512, 2, 1, 128, id="the most"),
]


def parts(images: int, tokens: int, last: int | None, width: int, generator: torch.Generator) -> list[Tensor]:
    sizes = [(tokens, 3 * width)] if last is None else [(last, width), (tokens, 2 * width)]
    return [torch.randn(images, *size, generator=generator).requires_grad_() for size in sizes]


@needs_compiled
@pytest.mark.parametrize(("images", "tokens", "last", "heads", "width"), SHAPES)
def test_attention(
    images: int,
    tokens: int,
    last: int | None,
    heads: int,
    width: int,
    instruction_set: str,
    generator: torch.Generator,
) -> None:
    vectors = parts(images, tokens, last, heads * width, generator)
    exact = [each.detach().double().requires_grad_() for each in vectors]
    found, wanted = attention(heads, *vectors), attention(heads, *exact)
    assert is_compiled(found) and not is_compiled(wanted)
    assert away(found.double(), wanted) < 2e-6
    weights = torch.randn(found.shape, generator=generator)
    slopes = torch.autograd.grad(found, vectors, weights)
    for slope, other in zip(slopes, torch.autograd.grad(wanted, exact, weights.double()), strict=True):
        if tokens > 1:
            assert away(slope.double(), other) < 2e-6
        else:
            torch.testing.assert_close(slope.double(), other, atol=1e-6, rtol=1e-6)


@needs_compiled
def test_attention_to_one_token_far_above_the_others(instruction_set: str) -> None:
    vectors = torch.zeros(1, 3, 48)
    vectors[0, :, 0] = 1000.0
    vectors[0, 1, 16] = 1000.0
    vectors[0, :, 32] = torch.tensor([1.0, 2.0, 3.0])
    assert attention(1, vectors)[0, :, 0].tolist() == [2.0, 2.0, 2.0]


HALF = 2**-8
"""Largest relative error of a number rounded to bfloat16."""


@needs_compiled
@pytest.mark.parametrize("count", [1, 7, 40_003])
def test_gelu_in_bfloat16_is_rounded_once(count: int, instruction_set: str, generator: torch.Generator) -> None:
    values = (4 * torch.randn(count, generator=generator)).bfloat16().requires_grad_()
    weights = torch.randn(count, generator=generator).bfloat16()
    exact = values.detach().double().requires_grad_()
    found, wanted = gelu(values), F.gelu(exact)
    assert is_compiled(found) and found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=HALF)
    (slopes,) = torch.autograd.grad(found, values, weights)
    (wanted_slopes,) = torch.autograd.grad(wanted, exact, weights.double())
    assert slopes.dtype == torch.bfloat16
    torch.testing.assert_close(slopes.double(), wanted_slopes, atol=1e-5, rtol=HALF)


@needs_compiled
@pytest.mark.parametrize(("images", "tokens", "last", "heads", "width"), SHAPES)
def test_attention_in_bfloat16_is_rounded_once(
    images: int,
    tokens: int,
    last: int | None,
    heads: int,
    width: int,
    instruction_set: str,
    generator: torch.Generator,
) -> None:
    with torch.no_grad():
        vectors = [each.bfloat16() for each in parts(images, tokens, last, heads * width, generator)]
    exact = [each.double().requires_grad_() for each in vectors]
    found, wanted = attention(heads, *(each.requires_grad_() for each in vectors)), attention(heads, *exact)
    assert is_compiled(found) and found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=HALF)
    weights = torch.randn(found.shape, generator=generator).bfloat16()
    slopes = torch.autograd.grad(found, vectors, weights)
    for slope, other in zip(slopes, torch.autograd.grad(wanted, exact, weights.double()), strict=True):
        assert slope.dtype == torch.bfloat16
        torch.testing.assert_close(slope.double(), other, atol=1e-5, rtol=HALF)


@needs_compiled
def test_bfloat16_rounds_as_pytorch_does(instruction_set: str) -> None:
    # Far to the right GELU is its argument: what comes back is what went in, to the last number that is finite.
    whole = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    large = whole[(whole >= 16) & whole.isfinite()]
    assert len(large) > 10_000 and torch.equal(gelu(large), large)
    odd = torch.tensor([float("nan"), float("inf"), -1.0]).bfloat16()
    found = gelu(odd)
    assert found[0].isnan() and not found[1].isfinite() and found[2] == F.gelu(odd.double())[2].bfloat16()


@needs_compiled
def test_autocast_takes_them(generator: torch.Generator) -> None:
    block = Block(32, 2)
    tokens = torch.randn(3, 7, 32, generator=generator).requires_grad_()
    weights = torch.randn(3, 7, 32, generator=generator)
    found = []
    for plain in (False, True):
        with torch.autocast("cpu", torch.bfloat16), plain_layers() if plain else contextlib.nullcontext():
            result = block(tokens)
        found.append((result, torch.autograd.grad(result, tokens, weights)[0]))
    exact = block(tokens)
    wanted = exact, torch.autograd.grad(exact, tokens, weights)[0]
    for compiled_one, plain_one, exact_one in zip(*found, wanted, strict=True):
        assert 0 < away(compiled_one, exact_one) < max(2e-3, 1.5 * away(plain_one, exact_one))


@needs_compiled
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value: float, instruction_set: str, generator: torch.Generator) -> None:
    assert not gelu(torch.tensor([1.0, value])).isfinite().all()
    for place in range(3):
        vectors = torch.randn(1, 5, 48, generator=generator)
        vectors[0, 2, 16 * place + 3] = value
        assert not attention(1, vectors).isfinite().all()


@needs_compiled
def test_results_are_the_same_with_any_number_of_threads(
    generator: torch.Generator, threads: Callable[[int], None]
) -> None:
    vectors, values = parts(3, 33, None, 64, generator)[0], torch.randn(50_001, generator=generator)
    found = []
    for count in (1, 2):
        threads(count)
        taken = attention(4, vectors)
        found.append((taken, torch.autograd.grad(taken, vectors, torch.ones_like(taken))[0], gelu(values)))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)


@needs_compiled
def test_second_derivatives_and_function_transforms(generator: torch.Generator) -> None:
    vectors = torch.randn(2, 4, 96, generator=generator)

    def total(values: Tensor) -> Tensor:
        return (gelu(values) * attention(2, values).sum()).sum()

    def written_out(values: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (2, 16)).transpose(1, 2) for part in values.split(32, dim=-1))
        taken = (query @ key.mT / 4.0).softmax(dim=-1) @ value
        return (F.gelu(values) * taken.sum()).sum()

    away_from = torch.randn(vectors.shape, generator=generator)
    found = torch.autograd.functional.hvp(total, vectors, away_from)[1]
    wanted = torch.autograd.functional.hvp(written_out, vectors, away_from)[1]
    assert isinstance(found, Tensor) and isinstance(wanted, Tensor)
    assert away(found, wanted) < 1e-5
    slopes = torch.func.grad(total)(vectors)
    assert away(slopes, torch.func.grad(written_out)(vectors)) < 1e-5


def test_many_gradients_at_once_and_negated_views(generator: torch.Generator) -> None:
    values = torch.randn(1, 3, 48, generator=generator)
    for layer in (gelu, partial(attention, 1)):

        def total(values: Tensor, layer: Callable[[Tensor], Tensor] = layer) -> Tensor:
            return layer(values).sum((0, 1))

        wanted, found = (torch.autograd.functional.jacobian(total, values, vectorize=many) for many in (False, True))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer(negated(values)), layer(-values), rtol=1e-5, atol=1e-6)


def test_what_the_compiled_layers_do_not_take(generator: torch.Generator) -> None:
    for vectors in (
        torch.randn(1, 600, 48, generator=generator),  # more keys than a cache holds
        torch.randn(1, 5, 24, generator=generator),  # heads that are no multiple of a vector
        torch.randn(1, 5, 48, generator=generator).double(),
        torch.randn(1, 48, 5, generator=generator).mT,
    ):
        found = attention(1, vectors.requires_grad_())
        assert not is_compiled(found)
        with plain_layers():
            assert torch.equal(found, attention(1, vectors))
    values = torch.randn(4, 6, generator=generator).t().requires_grad_()
    assert torch.equal(gelu(values), F.gelu(values))


@pytest.mark.parametrize("places", [True, False])
def test_tokens_in_common_are_as_if_each_image_had_its_own(places: bool, generator: torch.Generator) -> None:
    block = Block(32, 2)
    tokens = torch.randn(3, 4, 32, generator=generator).requires_grad_()
    shared = torch.randn(1, 6, 32, generator=generator).requires_grad_()
    chosen = torch.stack([torch.randperm(6, generator=generator)[:5] for _ in range(3)]) if places else None
    own = shared.expand(3, -1, -1) if chosen is None else shared[0][chosen]
    for last in (None, own.shape[1], own.shape[1] + 2):
        found = block(tokens, last, Common(shared, chosen))
        wanted = block(torch.cat([tokens, own], dim=1), last)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        weights = torch.randn(found.shape, generator=generator)
        learned = [tokens, shared, *block.parameters()]
        pairs = zip(
            torch.autograd.grad(found, learned, weights, retain_graph=True),
            torch.autograd.grad(wanted, learned, weights, retain_graph=True),
            strict=True,
        )
        for slope, other in pairs:
            torch.testing.assert_close(slope, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mae_vit_micro_patch8_64", "gmae_vit_micro_patch8_64"])
def test_models_learn_the_same_with_either(name: str, generator: torch.Generator) -> None:
    model = create_model(name, seed=0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    mask = random_mask(2, (8, 8), 0.75, generator)

    def slopes() -> list[Tensor]:
        made = model(images, mask)
        # Rounding may swap splats that lie equally deep, which an image shows.
        loss = made.image.square().mean() if made.gaussians is None else made.gaussians.colors.square().mean()
        return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True))

    found = slopes()
    with plain_layers():
        wanted = slopes()
    for slope, other in zip(found, wanted, strict=True):
        assert (slope - other).norm() < 1e-4 * other.norm() + 1e-6


@needs_compiled
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own call, with the first tangent.
def test_a_gradient_with_a_tangent(generator: torch.Generator) -> None:
    values = torch.randn(2, 3, 48, generator=generator).requires_grad_()
    upstream, change = torch.randn(2, 2, 3, 16, generator=generator)
    for layer in (lambda each: gelu(each)[..., :16], partial(attention, 1)):
        result = layer(values)
        (wanted,) = torch.autograd.grad(result, values, change, retain_graph=True)
        with forward_ad.dual_level():
            (found,) = torch.autograd.grad(result, values, forward_ad.make_dual(upstream, change))
            tangent = forward_ad.unpack_dual(found).tangent
        # A gradient is linear in what comes from above.
        assert tangent is not None and away(tangent, wanted) < 1e-5
