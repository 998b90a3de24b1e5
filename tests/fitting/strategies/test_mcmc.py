"""Relocation, growth and noise: against an independent implementation, and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from fitting.strategies import hand_made, oracle
from fitting.strategies.hand_made import optimizer, parameters, rows_of, step
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.strategy import Edits

SOON = MCMCOptions(cap=75, start=0, every=10, stop=1000)


def test_decisions_are_those_of_an_independent_implementation(generator: torch.Generator) -> None:
    adam, strategy = optimizer(parameters(40, generator)), MCMCStrategy(SOON)
    rows = rows_of(adam)
    relocated = added = 0
    for number in range(1, 201):
        gradients = hand_made.random_gradients(adam, generator)
        # Opacities fall towards death, as the regulariser makes them do.
        assert adam.parameters["logits"].grad is not None
        adam.parameters["logits"].grad += 0.4
        gradients["logits"] = gradients["logits"] + 0.4
        adam.step()
        adam.zero_grad()
        oracle.adam(rows, gradients, hand_made.RATES, number)
        edits = strategy.after_step(adam, step(number, position_rate=1e-5))
        expected = Edits()
        if number % 10 == 0:
            dead, _, grown = oracle.relocate_and_grow(rows, SOON, Draws(7, number))
            expected = Edits(relocated=len(dead), added=len(grown))
            relocated, added = relocated + len(dead), added + len(grown)
        oracle.stir(rows, SOON, 1e-5, Draws(7, number))
        assert edits == expected
        assert adam.count <= SOON.cap
    assert relocated >= 30 and added == 35 and adam.count == SOON.cap
    differences = hand_made.largest_difference(adam, rows)
    assert max(differences.values()) < 5e-4, differences


def test_dead_ones_move_to_living_ones_with_new_moments(generator: torch.Generator) -> None:
    values = parameters(6, generator)
    values["logits"] = torch.tensor([0.5, 0.004, 0.9, 0.005, 0.006, 0.3]).logit()
    values["sh"] = torch.arange(6.0).reshape(6, 1, 1).repeat(1, 1, 3)
    adam, strategy = optimizer(values), MCMCStrategy(replace(SOON, cap=6, noise=0))
    for name, each in adam.parameters.items():
        each.grad = torch.ones_like(each) if name == "means" else torch.zeros_like(each)
    adam.step()
    adam.zero_grad()
    places = adam.parameters["means"].detach().clone()
    assert strategy.after_step(adam, step(10)) == Edits(relocated=2)
    tags = adam.parameters["sh"][:, 0, 0].int().tolist()
    assert [tags[index] for index in (0, 2, 4, 5)] == [0, 2, 4, 5]
    assert {tags[1], tags[3]} <= {0, 2, 4, 5}
    torch.testing.assert_close(adam.parameters["means"].detach()[[1, 3]], places[[tags[1], tags[3]]], rtol=0, atol=0)
    touched = {1, 3, tags[1], tags[3]}
    has_moments = adam.state_dict()["means.exp_avg"].any(dim=1).tolist()
    assert has_moments == [index not in touched for index in range(6)]
    # What a Gaussian and its copies block together is what it blocked.
    opacities = adam.parameters["logits"].detach().double().sigmoid()
    before = {0: 0.5, 2: 0.9, 4: 0.006, 5: 0.3}
    for source in set(tags) - {4}:
        left = (1 - opacities[[index for index, tag in enumerate(tags) if tag == source]]).prod()
        assert float(1 - left) == pytest.approx(before[source], abs=1e-6)


def test_growth_is_by_a_share_up_to_the_cap(generator: torch.Generator) -> None:
    adam = optimizer(parameters(40, generator))
    strategy, counts = MCMCStrategy(replace(SOON, cap=50)), [40]
    for number in range(10, 90, 10):
        strategy.after_step(adam, step(number))
        counts.append(adam.count)
    assert counts == [40, 42, 44, 46, 48, 50, 50, 50, 50]
    few = optimizer(parameters(3, generator))
    assert strategy.after_step(few, step(10)).added == 1, "also where a twentieth is less than one"


def test_nothing_moves_where_all_are_dead(generator: torch.Generator) -> None:
    adam = optimizer(parameters(4, generator) | {"logits": torch.full((4,), -9.0)})
    edits = MCMCStrategy(replace(SOON, cap=4, noise=0)).after_step(adam, step(10))
    assert edits == Edits()


@pytest.mark.parametrize("broken", [float("nan"), -200.0], ids=["nan", "no opacity left in float32"])
def test_gaussians_without_a_weight_are_never_copied(broken: float, generator: torch.Generator) -> None:
    """Until a fit removes Gaussians that are not finite, a strategy meets them."""
    values = parameters(6, generator) | {"logits": torch.tensor([broken, 1.0, -9.0, 1.0, -9.0, broken])}
    adam = optimizer(values)
    edits = MCMCStrategy(replace(SOON, cap=40, noise=0, growth=3.0)).after_step(adam, step(10))
    dead = 4 if broken < 0 else 2
    assert edits == Edits(relocated=dead, added=12)
    tags = adam.parameters["means"].detach()
    living = values["means"].detach()[[1, 3]]
    copies = tags if broken < 0 else tags[1:5]
    for each in torch.cat([copies, tags[6:]]):
        assert bool((each == living).all(dim=1).any())
    adam = optimizer(parameters(3, generator) | {"logits": torch.full((3,), broken)})
    assert MCMCStrategy(replace(SOON, noise=0)).after_step(adam, step(10)) == Edits()


def test_edits_have_a_start_and_a_stop_and_noise_has_none(generator: torch.Generator) -> None:
    strategy = MCMCStrategy(replace(SOON, start=10, stop=30))
    adam = optimizer(parameters(40, generator))
    for number, added in ((10, 0), (15, 0), (20, 2), (30, 0)):
        places = adam.parameters["means"].detach().clone()
        assert strategy.after_step(adam, step(number)).added == added
        assert not torch.equal(adam.parameters["means"].detach()[: len(places)], places)


def test_noise_has_the_shape_of_the_gaussian_and_fades_with_opacity(generator: torch.Generator) -> None:
    count = 20_000
    one = {name: each.repeat(count, *[1] * (each.ndim - 1)) for name, each in parameters(1, generator).items()}
    one["log_scales"] = torch.tensor([0.1, 0.2, 0.05]).log().repeat(count, 1)

    def covariance(opacity: float) -> torch.Tensor:
        values = {name: each.clone() for name, each in one.items()}
        values["logits"] = torch.full((count,), opacity).logit()
        adam = optimizer(values)
        before = adam.parameters["means"].detach().clone()
        MCMCStrategy(SOON).after_step(adam, step(3, position_rate=2e-6))
        return (adam.parameters["means"].detach() - before).double().T.cov()

    turn = quaternions_to_matrices(one["quaternions"][:1].double())[0]
    shape = turn @ torch.diag(torch.tensor([0.1, 0.2, 0.05]).double() ** 2) @ turn.T
    # At the threshold the gate is one half: Σ·ε·½·rate·noise, whose covariance is Σ².
    expected = shape @ shape * (0.5 * 2e-6 * 5e5) ** 2
    error = (covariance(0.005) - expected).norm() / expected.norm()
    assert float(error) < 5 * (2 / count) ** 0.5
    assert float(covariance(0.3).norm() / expected.norm()) < 1e-20 or float(covariance(0.3).norm()) < 1e-12


def test_the_loss_asks_for_less_opacity_and_smaller_scales(generator: torch.Generator) -> None:
    values = {name: each.requires_grad_() for name, each in parameters(5, generator).items()}
    gaussians = Gaussians(
        values["means"], values["log_scales"].exp(), values["quaternions"], values["logits"].sigmoid(), sh=values["sh"]
    )
    for extent in (1.0, 4.0):
        added = MCMCStrategy().before_backward(gaussians, extent)
        assert added is not None
        expected = 0.01 * values["logits"].sigmoid().sum() / 5 + 0.01 * values["log_scales"].exp().sum() / 15 / extent
        torch.testing.assert_close(added, expected)
    assert MCMCStrategy(MCMCOptions(opacity_weight=0, scale_weight=0)).before_backward(gaussians, 1.0) is None


def test_it_keeps_no_state() -> None:
    strategy = MCMCStrategy()
    assert strategy.state_dict() == {} and strategy.info(1000) is False
    strategy.load_state_dict({})
    with pytest.raises(FormatError, match="^state: expected no tensors for the strategy mcmc, got odd"):
        strategy.load_state_dict({"odd": torch.zeros(1)})


def test_options_for_a_number_of_steps() -> None:
    assert MCMCOptions.for_steps(30_000, 1_000_000) == MCMCOptions.for_steps(90_000, 1_000_000) == MCMCOptions()
    short = MCMCOptions.for_steps(6_000, 100)
    assert (short.cap, short.start, short.stop, short.every) == (100, 429, 5_000, 100)


@pytest.mark.parametrize(
    ("name", "value"), [("cap", 0), ("growth", 0.9), ("every", 0), ("min_opacity", 0.0), ("noise", -1.0)]
)
def test_options_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected"):
        replace(SOON, **{name: value})
