"""Adaptive density control: against an independent one, and on gradients made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fitting.strategies import hand_made, oracle
from fitting.strategies.hand_made import SIZE, optimizer, parameters, rows_of, seen_once, step
from splatlearn.core.errors import FormatError, InputError
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.strategy import Edits

SOON = DefaultOptions(start=0, every=10, stop=1000, reset_every=70)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"absgrad": True, "grow_gradient": 6e-4},
        {"cap": 40},
        {"revised_opacity": True},
    ],
    ids=["default", "absgrad", "cap", "revised_opacity"],
)
def test_decisions_are_those_of_an_independent_implementation(
    changed: dict[str, Any], generator: torch.Generator
) -> None:
    options = replace(SOON, **changed)
    adam, strategy = optimizer(parameters(24, generator)), DefaultStrategy(options)
    rows = rows_of(adam)
    totals = [0, 0, 0]
    for number in range(1, 201):
        gradients = hand_made.random_gradients(adam, generator)
        adam.step()
        adam.zero_grad()
        oracle.adam(rows, gradients, hand_made.RATES, number)
        views = 1 + number % 3
        sees = torch.rand(views, adam.count, generator=generator) < 0.6
        view_ids, ids = sees.nonzero(as_tuple=True)
        # The spread of gradients makes some in a hundred grow.
        pulls = 0.8e-6 * torch.randn(2, len(ids), 2, generator=generator).exp() * (3 if options.absgrad else 1)
        info = hand_made.info(ids, view_ids, pulls[0], pulls[1])
        edits = strategy.after_step(adam, step(number, views=views, info=info))
        oracle.look(rows, ids.numpy(), pulls[1 if options.absgrad else 0].double().numpy(), SIZE, views)
        expected = Edits()
        if number % 10 == 0:
            rows, (cloned, split, pruned) = oracle.refine(rows, options, 1.0, number, seed=7)
            expected = Edits(len(cloned), len(split), len(pruned))
            totals = [total + len(each) for total, each in zip(totals, (cloned, split, pruned), strict=True)]
        if number % 70 == 0:
            oracle.reset(rows, options.reset_opacity)
            expected = replace(expected, reset=True)
        assert edits == expected
        assert options.cap is None or adam.count <= options.cap
    assert min(totals) >= 10, "the test should see every kind of edit"
    assert options.cap is None or adam.count > options.cap - 10
    differences = hand_made.largest_difference(adam, rows)
    # 200 steps of Adam in float32, whose parameters are of order 1 to 10.
    assert max(differences.values()) < 2e-4, differences


def by_hand(**changed: Any) -> tuple[dict[str, Tensor], Any]:
    """Six Gaussians, told apart by their harmonics: small, large, small, large, faint, huge."""
    sizes = torch.tensor([0.005, 0.02, 0.005, 0.02, 0.005, 0.5])
    values = {
        "means": torch.arange(18.0).reshape(6, 3),
        "log_scales": torch.stack([sizes, 0.5 * sizes, 0.25 * sizes], dim=-1).log(),
        "quaternions": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(6, 1),
        "logits": torch.tensor([0.5, 0.5, 0.5, 0.5, 0.001, 0.5]).logit(),
        "sh": torch.arange(6.0).reshape(6, 1, 1).repeat(1, 1, 3),
    }
    return values, replace(SOON, every=10, **changed)


def tags(adam: Any) -> list[int]:
    return adam.parameters["sh"][:, 0, 0].int().tolist()


def test_who_is_cloned_split_and_pruned() -> None:
    values, options = by_hand()
    adam, strategy = optimizer(values), DefaultStrategy(options)
    gradients = hand_made.random_gradients(adam, torch.Generator().manual_seed(1))
    adam.step()
    adam.zero_grad()
    before = {name: each.clone() for name, each in adam.state_dict().items()}
    values = {name: each.detach().clone() for name, each in adam.parameters.items()}
    edits = strategy.after_step(adam, step(10, info=seen_once([2.001e-4, 2.001e-4, 1.999e-4, 1.999e-4, 3e-4, 0.0])))
    assert gradients and edits == Edits(cloned=2, split=1, pruned=2)
    # 4 was cloned, and both faint ones were pruned; 5 is huge, but nothing is too large before the first reset.
    assert tags(adam) == [0, 2, 3, 5, 0, 1, 1]
    for name, each in adam.parameters.items():
        moved = slice(0, 5) if name in ("means", "log_scales") else slice(None)
        torch.testing.assert_close(each.detach()[moved], values[name][[0, 2, 3, 5, 0, 1, 1]][moved], rtol=0, atol=0)
    children = adam.parameters["log_scales"].detach()[5:]
    torch.testing.assert_close(children, values["log_scales"][[1, 1]] - math.log(1.6))
    away = (adam.parameters["means"].detach()[5:] - values["means"][1]) / values["log_scales"][1].exp()
    assert away.abs().max() < 5 and away.abs().min() > 0 and not torch.equal(away[0], away[1])
    for name in adam.parameters:
        for kind in ("exp_avg", "exp_avg_sq"):
            moments = adam.state_dict()[f"{name}.{kind}"]
            torch.testing.assert_close(moments[:4], before[f"{name}.{kind}"][[0, 2, 3, 5]], rtol=0, atol=0)
            assert not moments[4:].any()


def test_too_large_ones_go_after_the_first_reset() -> None:
    values, options = by_hand()
    adam, strategy = optimizer(values), DefaultStrategy(options)
    edits = strategy.after_step(adam, step(80, info=seen_once([0.0] * 6)))
    assert edits == Edits(pruned=2)
    assert tags(adam) == [0, 1, 2, 3]


def test_large_pictures_are_pruned_where_that_is_wanted() -> None:
    values, options = by_hand(prune_radius=20.0)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    seen = seen_once([0.0, 3e-4, 3e-4, 0.0, 0.0, 0.0])
    seen.radii = torch.tensor([25.0, 25.0, 25.0, 19.0, 1.0, 1.0])
    assert strategy.after_step(adam, step(71, info=seen)) == Edits()
    edits = strategy.after_step(adam, step(80, info=seen_once([0.0, 3e-4, 3e-4, 0.0, 0.0, 0.0])))
    # The clone of 2 and the children of 1 were seen by no view yet.
    assert edits == Edits(cloned=1, split=1, pruned=4)
    assert tags(adam) == [3, 2, 1, 1]


def test_the_largest_gradients_win_where_room_is_short() -> None:
    values, options = by_hand(cap=8, prune_opacity=0.0)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    edits = strategy.after_step(adam, step(10, info=seen_once([3e-4, 5e-4, 9e-4, 4e-4, 5e-4, 0.0])))
    assert edits == Edits(cloned=1, split=1)
    # 1 and 4 have the same gradient: the earlier one wins.
    assert tags(adam) == [0, 2, 3, 4, 5, 2, 1, 1]
    assert strategy.after_step(adam, step(20, info=seen_once([1.0] * 8))) == Edits()


def test_a_gradient_is_the_mean_over_the_views_that_see_a_gaussian() -> None:
    values, options = by_hand(prune_opacity=0.0)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    # Two views a step: 0 is seen by both, once above and once below; 2 is seen by one. Losses are means over views.
    pulls = torch.tensor([3.9e-4, 3.9e-4, 0.0, 0.0]) / 2
    grad = torch.stack([torch.zeros(4), pulls / (SIZE[0] / 2)], dim=-1)
    info = hand_made.info(torch.tensor([0, 2, 0, 1]), torch.tensor([0, 0, 1, 1]), grad)
    assert strategy.after_step(adam, step(10, views=2, info=info)) == Edits(cloned=1)
    assert tags(adam) == [0, 1, 2, 3, 4, 5, 2]


def test_both_heirs_of_an_opacity_block_what_it_did() -> None:
    values, options = by_hand(revised_opacity=True)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    strategy.after_step(adam, step(10, info=seen_once([3e-4, 3e-4, 0.0, 0.0, 0.0, 0.0])))
    assert tags(adam) == [0, 2, 3, 5, 0, 1, 1]
    opacities = adam.parameters["logits"].detach().sigmoid()
    torch.testing.assert_close((1 - opacities[[0, 5]]) * (1 - opacities[[4, 6]]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(opacities[1:4], torch.full((3,), 0.5))


def test_opacities_are_reset_with_their_moments_alone(generator: torch.Generator) -> None:
    adam, strategy = optimizer(parameters(9, generator)), DefaultStrategy(SOON)
    hand_made.random_gradients(adam, generator)
    adam.step()
    before = adam.parameters["logits"].detach().sigmoid()
    assert strategy.after_step(adam, step(140, info=seen_once([0.0] * 9))).reset
    after = adam.parameters["logits"].detach().sigmoid()
    assert adam.count < 9 or torch.allclose(after, before.clamp_max(0.01))
    assert float(after.max()) <= 0.010001
    state = adam.state_dict()
    assert not state["logits.exp_avg"].any() and not state["logits.exp_avg_sq"].any()
    assert state["means.exp_avg"].all()


def test_nothing_is_edited_before_the_start_and_from_the_stop_on() -> None:
    values, options = by_hand(start=10, stop=30)
    adam, strategy = optimizer(values), DefaultStrategy(options)
    pulled = seen_once([1.0] * 6)
    assert [strategy.info(number) for number in (1, 29, 30)] == [True, True, False]
    for number in (10, 15, 30, 40):
        assert strategy.after_step(adam, step(number, info=pulled)) == Edits()
    assert strategy.after_step(adam, step(20, info=pulled)) != Edits()


def test_a_fit_never_loses_its_last_gaussian(generator: torch.Generator) -> None:
    values = parameters(5, generator) | {"logits": torch.full((5,), -9.0)}
    adam, strategy = optimizer(values), DefaultStrategy(SOON)
    assert strategy.after_step(adam, step(10, info=seen_once([0.0] * 5))) == Edits()
    assert adam.count == 5


def test_what_was_seen_is_saved_and_forgotten_with_its_gaussians() -> None:
    values, options = by_hand()
    first = DefaultStrategy(options)
    first.after_step(optimizer(dict(values)), step(9, info=seen_once([3e-4, 0.0, 3e-4, 0.0, 0.0, 0.0])))
    second = DefaultStrategy(options)
    second.load_state_dict(first.state_dict())
    kept = torch.tensor([False, True, True, True, True, True])
    second.follow(kept)
    adam = optimizer({name: each[kept].detach() for name, each in values.items()})
    second.after_step(adam, step(10, info=seen_once([0.0] * 5)))
    assert tags(adam) == [1, 2, 3, 5], "the mean of both steps is below the threshold"
    second.load_state_dict({name: each[kept] for name, each in first.state_dict().items()})
    adam = optimizer({name: each[kept].detach() for name, each in values.items()})
    second.after_step(adam, step(10, info=seen_once([0.0, 2e-4, 0.0, 0.0, 0.0])))
    assert tags(adam) == [1, 2, 3, 5, 2]
    with pytest.raises(FormatError, match="^state: expected the tensors gradient_sums, views, radii, got odd"):
        second.load_state_dict({"odd": torch.zeros(3)})


def test_options_for_a_number_of_steps() -> None:
    assert DefaultOptions.for_steps(30_000) == DefaultOptions.for_steps(90_000) == DefaultOptions()
    absgrad = DefaultOptions.for_steps(30_000, cap=5, absgrad=True)
    assert absgrad == DefaultOptions(cap=5, absgrad=True, grow_gradient=6e-4)
    short = DefaultOptions.for_steps(6_000)
    assert (short.start, short.stop, short.every, short.reset_every) == (429, 3_000, 100, 1_000)
    short = DefaultOptions.for_steps(1_000)
    assert (short.start, short.stop, short.every) == (71, 500, 25)
    assert DefaultOptions.for_steps(7).every == 1
    # Opacities are reset before `stop`, which fits below 5,000 steps reach without it.
    for steps, is_reset in ((1_000, False), (2_000, False), (4_999, False), (5_000, True), (12_000, True)):
        options = DefaultOptions.for_steps(steps)
        assert (options.reset_every < options.stop) == is_reset, steps


@pytest.mark.parametrize(
    ("name", "value"),
    [("cap", 0), ("every", 0), ("grow_gradient", -1.0), ("prune_opacity", 1.0), ("prune_radius", 0.0)],
)
def test_options_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected"):
        replace(SOON, **{name: value})
