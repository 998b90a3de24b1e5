"""Options of the default strategy that are Turbo-GS's: a budget, growth by colours, pruning by sensitivity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fitting.strategies import hand_made
from fitting.strategies.hand_made import SIZE, optimizer, parameters, seen_once, step
from fitting.strategies.test_default import SOON, by_hand, tags
from fitting.test_scene_fit import scene
from splatlearn.core.errors import InputError
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.strategies.budget import Budget
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.sensitivity import removal_changes
from splatlearn.fitting.strategies.strategy import Edits, Seen


def test_the_number_follows_the_budget_whatever_the_gradients() -> None:
    values, options = by_hand(prune_opacity=0.0, stop=100, reset_every=1_000)
    budget = Budget(6, 36, exponent=1.0)
    adam, strategy = optimizer(values), DefaultStrategy(replace(options, budget=budget))
    for number in range(1, 100):
        lengths = torch.rand(adam.count, generator=torch.Generator().manual_seed(number)) * 1e-5
        strategy.after_step(adam, step(number, info=seen_once(lengths.tolist())))
        if number % 10 == 0:
            assert adam.count == min(6 + 3 * (number // 10), budget.at(number / 100)), number
    assert adam.count == 33


def test_the_largest_gradients_use_the_budget_and_the_cap_is_never_exceeded() -> None:
    values, options = by_hand(prune_opacity=0.0, stop=20)
    strategy = DefaultStrategy(replace(options, budget=Budget(6, 10), cap=7))
    adam = optimizer(values)
    assert strategy.after_step(adam, step(10, info=seen_once([1e-6, 0.0, 3e-6, 0.0, 2e-6, 0.0]))) == Edits(cloned=1)
    assert tags(adam) == [0, 1, 2, 3, 4, 5, 2]


def test_slopes_of_the_loss_are_part_of_the_state() -> None:
    values, options = by_hand(stop=1_000)
    made = [DefaultStrategy(replace(options, every=400, budget=Budget(6, 60, adapts=True))) for _ in range(2)]
    adam = optimizer(values)
    for number in range(1, 300):
        made[0].after_step(adam, step(number, info=seen_once([1e-5] * 6), loss=1.0 / number))
    made[1].load_state_dict({name: each.clone() for name, each in made[0].state_dict().items()})
    assert made[1].state_dict().keys() == made[0].state_dict().keys() == {"gradient_sums", "views", "radii", "slopes"}
    for number in range(300, 350):
        for each in made:
            each.after_step(adam, step(number, info=seen_once([1e-5] * 6), loss=0.5))
    assert all(torch.equal(each, made[1].state_dict()[name]) for name, each in made[0].state_dict().items())


def test_slopes_of_the_loss_keep_all_their_bits_in_the_state_of_a_fit(generator: torch.Generator) -> None:
    start, options = scene(generator), DefaultOptions(budget=Budget(20, 60, adapts=True))
    strategies = [DefaultStrategy(options) for _ in range(2)]
    first, second = (SceneFit(start, 1.0, each) for each in strategies)
    for number in range(101, 400):
        strategies[0]._slopes.add(number, 1.0 / number)
    second.load_state_dict(first.state_dict())
    slopes = first.state_dict()["strategy.slopes"]
    assert slopes.dtype == torch.float64 and bool(slopes.float().double().ne(slopes).any())
    assert torch.equal(second.state_dict()["strategy.slopes"], slopes)


def test_colors_make_gaussians_grow_in_a_share_of_the_edits() -> None:
    values, options = by_hand(prune_opacity=0.0)
    grown = 0
    for number in range(10, 1_000, 10):
        adam = optimizer({name: each.clone() for name, each in values.items()})
        strategy = DefaultStrategy(replace(options, color_share=0.2, reset_every=10_000))
        adam.parameters["sh"].grad = torch.zeros(6, 1, 3)
        # The colour of 0 is pulled by 3e-6, that of 2 by less than the hundredth part of a position's threshold.
        adam.parameters["sh"].grad[0, 0, 1], adam.parameters["sh"].grad[2, 0, 0] = 3e-6 * 0.2820948, 1.9e-6 * 0.2820948
        edits = strategy.after_step(adam, step(number, info=seen_once([0.0] * 6)))
        is_drawn = float(Draws(7, number).uniforms(Draw.COLOR_GROWTH, 1)) < 0.2
        assert edits == Edits(cloned=1 if is_drawn else 0)
        grown += is_drawn
    assert 10 <= grown <= 30


def test_gradients_of_colors_count_for_each_view() -> None:
    values, options = by_hand(prune_opacity=0.0)
    adam = optimizer(values)
    strategy = DefaultStrategy(replace(options, color_share=1.0))
    # Two views see Gaussian 0 and one sees 2. The loss is their mean: 0's own gradients add up to twice this one.
    adam.parameters["sh"].grad = torch.zeros(6, 1, 3)
    adam.parameters["sh"].grad[0, 0, 0] = adam.parameters["sh"].grad[2, 0, 0] = 1.5e-6 * 0.2820948
    info = hand_made.info(torch.tensor([0, 2, 0]), torch.tensor([0, 0, 1]), torch.zeros(3, 2))
    assert strategy.after_step(adam, step(10, views=2, info=info)) == Edits(cloned=1)
    assert tags(adam)[-1] == 2


def test_views_of_several_sizes_are_all_seen() -> None:
    values, options = by_hand(prune_opacity=0.0)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    small = SIZE[0] // 2, SIZE[1] // 2
    # 0 and 1 are pulled by 2.1e-4 in their own view's loss, which is half of the step's.
    seen = tuple(
        Seen(size, 1, seen_once([1.05e-4 if index == which else 0.0 for index in range(6)], size))
        for which, size in enumerate((SIZE, small))
    )
    for each, sees in zip(seen, (0, 1), strict=True):
        assert each.info is not None
        each.info.ids, each.info.view_ids = torch.tensor([sees]), torch.tensor([0])
        each.info.radii = torch.ones(1)
        assert each.info.means2d_grad is not None
        each.info.means2d_grad = each.info.means2d_grad[[sees]]
    assert strategy.after_step(adam, step(10, seen=seen)) == Edits(cloned=1, split=1)


def test_what_pictures_miss_least_is_pruned_once_when_growth_ends(generator: torch.Generator) -> None:
    adam = optimizer(parameters(40, generator))
    for _ in range(5):
        hand_made.random_gradients(adam, generator)
        adam.step()
    strategy = DefaultStrategy(replace(SOON, stop=50, prune_share=0.6))
    changes, means = removal_changes(adam), adam.parameters["means"].detach().clone()
    moments = adam.state_dict()["means.exp_avg"].clone()
    assert strategy.after_step(adam, step(50)) == Edits(pruned=24)
    kept = changes.argsort(descending=True)[:16].sort().values
    assert torch.equal(adam.parameters["means"].detach(), means[kept])
    assert torch.equal(adam.state_dict()["means.exp_avg"], moments[kept])
    assert strategy.after_step(adam, step(51)) == Edits() and adam.count == 16
    assert DefaultStrategy(replace(SOON, stop=50)).after_step(adam, step(50)) == Edits()


def test_removal_is_measured_to_second_order() -> None:
    """On a loss ½·Σ hᵢ(oᵢ − tᵢ)² of opacities, noisy targets show the curvature, and removal raises it by ½·h·o²."""
    generator = torch.Generator().manual_seed(0)
    target = 0.1 + 0.8 * torch.rand(12, generator=generator)
    # As of weighted pixels, each with noise of its own: the variance of the gradient is the curvature.
    curvature = torch.rand(12, generator=generator) * 4 + 0.2
    values = parameters(12, generator)
    values["logits"] = target.logit()
    adam = GaussianAdam(values, dict.fromkeys(values, 0.0))
    for _ in range(4_000):
        noise = curvature.sqrt() * torch.randn(12, generator=generator)
        adam.parameters["logits"].grad = noise * target * (1 - target)
        adam.step()
    found, expected = removal_changes(adam), curvature * target.square()
    ratio = found / expected
    assert float(ratio.max() / ratio.min()) < 1.35, "the second moment averages a thousand steps"


def test_errors_name_the_option() -> None:
    with pytest.raises(InputError, match="color_share: expected"):
        DefaultOptions(color_share=1.5)
    with pytest.raises(InputError, match="prune_share: expected"):
        DefaultOptions(prune_share=1.0)
