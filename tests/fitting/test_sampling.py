"""Drawing pixels by weight: the right odds, each pixel once, and more pixels than `torch.multinomial` takes."""

import itertools
import math

import pytest
import torch

from splatlearn.fitting.sampling import draw_sites


def test_without_repetition_the_odds_are_those_of_one_after_the_other():
    weights = torch.tensor([0.5, 0.0, 2.0, 1.0, 0.25])
    draws = draw_sites(weights.expand(40000, -1), 2, torch.Generator().manual_seed(0))
    found = torch.bincount(draws[:, 0] * 5 + draws[:, 1], minlength=25).reshape(5, 5) / 40000
    total = float(weights.sum())
    for first, second in itertools.product(range(5), repeat=2):
        one, other = float(weights[first]), float(weights[second])
        chance = 0.0 if first == second else one / total * other / (total - one)
        # Five standard deviations.
        assert abs(float(found[first, second]) - chance) <= 5 * math.sqrt(chance * (1 - chance) / 40000), (
            first,
            second,
        )


def test_every_pixel_with_a_weight_comes_before_one_comes_again():
    weights = torch.tensor([[0.0, 1e-20, 3.0, 0.0, 1.0]])
    draws = draw_sites(weights, 3, torch.Generator().manual_seed(1))
    assert sorted(draws[0].tolist()) == [1, 2, 4]
    assert sorted(draw_sites(weights, 5, torch.Generator().manual_seed(1))[0].tolist()) == [0, 1, 2, 3, 4]


def test_more_draws_than_pixels_repeat_them_by_their_weights():
    weights = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    draws = draw_sites(weights, 4000, torch.Generator().manual_seed(0))
    assert torch.equal(draws[1], torch.ones(4000, dtype=torch.int64))
    assert not bool((draws[0] == 1).any())
    assert float((draws[0] == 2).float().mean()) == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 4000))


def test_a_generator_fixes_the_draws_and_the_global_one_is_the_default():
    weights = torch.rand(2, 50, generator=torch.Generator().manual_seed(3))
    one, other = (draw_sites(weights, 9, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert torch.equal(draw_sites(weights, 9), other)


def test_more_pixels_than_a_float_counts():
    # Past 2²⁴ a float32 sum of such small shares stands still.
    pixels = 2**24 + 2**10
    weights = torch.full((1, pixels), 1.0 / pixels)
    draws = draw_sites(weights, 2000, torch.Generator().manual_seed(0))[0]
    assert len(set(draws.tolist())) == 2000
    assert float(draws.double().mean() / pixels) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / 2000))
    weights[:] = 0.0
    weights[0, -3:] = torch.tensor([1.0, 1e-9, 1.0])
    assert sorted(draw_sites(weights, 3)[0].tolist()) == [pixels - 3, pixels - 2, pixels - 1]
