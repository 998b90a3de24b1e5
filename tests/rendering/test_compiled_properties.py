"""Properties of compiled backends under any input that hypothesis can think of."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rendering.compiled import CPU, NAMES, Compiled
from rendering.scenes_hard import Scene, conics_of, scene
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.rendering import render

COUNT = 3


@pytest.fixture(scope="module", params=CPU)
def compiled(request: pytest.FixtureRequest) -> Iterator[Compiled]:
    """Backends that take hundreds of examples in no time; `test_blend_triton.py` has some for the others."""
    with request.param.active():
        yield request.param


def floats(limit: float) -> st.SearchStrategy[float]:
    return st.floats(-limit, limit, allow_nan=False, width=64)


def lists(element: st.SearchStrategy[float], shape: tuple[int, ...]) -> st.SearchStrategy[torch.Tensor]:
    size = math.prod(shape)
    return st.lists(element, min_size=size, max_size=size).map(
        lambda values: torch.tensor(values, dtype=torch.float64).reshape(shape).float()
    )


def deviations() -> st.SearchStrategy[torch.Tensor]:
    return lists(st.floats(-3, 6).map(lambda exponent: 10.0**exponent), (1, COUNT))


def ellipses() -> st.SearchStrategy[torch.Tensor]:
    angles = lists(st.floats(0, math.pi), (1, COUNT))
    return st.builds(lambda *parts: conics_of(*parts).float(), deviations(), deviations(), angles)


@st.composite
def scenes(draw: st.DrawFn, conics: st.SearchStrategy[torch.Tensor]) -> Scene:
    return Scene(
        draw(lists(st.one_of(floats(1e6), floats(30.0)), (1, COUNT, 2))),
        draw(conics),
        draw(lists(st.floats(0, 2), (1, COUNT))),
        draw(lists(floats(1e3), (1, COUNT, 2))),
        draw(lists(floats(1e3), (1, 2))),
        draw(st.sampled_from([(1, 1), (17, 5), (9, 33)])),
    )


def outputs_of(compiled: Compiled, made: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    color, transmittance = compiled.forward(made)
    assert torch.isfinite(color).all()
    assert transmittance.min() >= 0 and transmittance.max() <= 1
    return color, transmittance


def assert_finite_gradients(compiled: Compiled, made: Scene) -> None:
    outputs = outputs_of(compiled, made)
    gradients = compiled.backward(made, outputs, (torch.ones_like(outputs[0]), -torch.ones_like(outputs[1])))
    for name, gradient in zip(NAMES, gradients, strict=True):
        assert torch.isfinite(gradient).all(), name


@settings(max_examples=150)
@given(made=scenes(ellipses()))
def test_ellipses_of_any_size_stay_finite(compiled: Compiled, made: Scene) -> None:
    assert_finite_gradients(compiled, made)


@settings(max_examples=150)
@given(made=scenes(lists(st.one_of(floats(1e18), floats(1.0)), (1, COUNT, 3))))
def test_conics_of_any_kind_stay_finite(compiled: Compiled, made: Scene) -> None:
    assert_finite_gradients(compiled, made)


# Gradients are products with distances and colours, which float32 still holds.
@settings(max_examples=100)
@given(made=scenes(lists(floats(1e35), (1, COUNT, 3))))
def test_huge_conics_stay_finite(compiled: Compiled, made: Scene) -> None:
    assert_finite_gradients(compiled, made)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), order=st.permutations(range(12)))
def test_the_order_of_gaussians_does_not_matter(compiled: Compiled, seed: int, order: list[int]) -> None:
    gaussians = random_gaussians(torch.Generator().manual_seed(seed))
    camera = Camera.gmae(20, 24)
    straight = render(gaussians, camera, backend=compiled.backend)
    shuffled = render(gaussians.select(torch.tensor(order)), camera, backend=compiled.backend)
    assert (straight.color - shuffled.color).abs().max() <= 1e-6
    assert (straight.alpha - shuffled.alpha).abs().max() <= 1e-6
    assert straight.depth is not None and shuffled.depth is not None
    torch.testing.assert_close(shuffled.depth, straight.depth, atol=1e-5, rtol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_three_times_the_size_is_the_same_picture(compiled: Compiled, seed: int) -> None:
    """Every third pixel centre of the larger image is one of the smaller, so nothing needs interpolating."""
    made = scene(torch.Generator().manual_seed(seed), (11, 13), opacities=(0.3, 0.99))
    larger = Scene(made.means2d * 3, made.conics / 9, *made.tensors[2:], size=(33, 39))
    for small, large in zip(compiled.forward(made), compiled.forward(larger), strict=True):
        # A splat that one of the two skips changes a pixel by at most the skip threshold.
        error = (large[..., 1::3, 1::3] - small).abs()
        assert (error > 1e-5).double().mean() < 0.01 and error.max() < 1 / 200


@pytest.mark.parametrize("shift", [(16.0, 0.0), (0.0, 16.0), (5.0, 3.0)])
def test_moving_splats_by_whole_pixels_moves_the_picture(compiled: Compiled, shift: tuple[float, float]) -> None:
    made = scene(torch.Generator().manual_seed(3), (48, 48))
    moved = Scene(made.means2d + torch.tensor(shift), *made.tensors[1:], size=made.size)
    right, down = int(shift[0]), int(shift[1])
    for before, after in zip(compiled.forward(made), compiled.forward(moved), strict=True):
        error = (after[..., down:, right:] - before[..., : 48 - down, : 48 - right]).abs()
        assert (error > 1e-5).double().mean() < 0.005 and error.max() < 1 / 200
