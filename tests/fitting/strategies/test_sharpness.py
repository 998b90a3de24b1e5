"""Growth of convexes: which are split, where their children are, and what is pruned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fitting.strategies.hand_made import step
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import GaussianAdam, SharpnessOptions, SharpnessStrategy, as_convexes
from splatlearn.fitting.scene_parameters import scene_gaussians, scene_parameters
from splatlearn.fitting.strategies.budget import Budget

OPTIONS = SharpnessOptions(Budget(4, 9), start=0, stop=100, every=2, prune_opacity=0.03, prune_size_from=1000)


def convexes(generator: torch.Generator, opacities: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8)) -> GaussianAdam:
    count = len(opacities)
    plain = Gaussians(
        torch.randn(count, 3, generator=generator),
        0.1 + torch.rand(count, 3, generator=generator),
        torch.randn(count, 4, generator=generator),
        torch.tensor(opacities),
        colors=torch.rand(count, 3, generator=generator),
    )
    found = scene_parameters(as_convexes(plain, 5))
    return GaussianAdam(found, dict.fromkeys(found, 1e-3))


def pull(adam: GaussianAdam, sharpness: list[float], generator: torch.Generator) -> None:
    """Gradients that are anything but for the logarithms of the sharpness; 0 where nothing was seen."""
    for name, each in adam.parameters.items():
        each.grad = torch.randn(each.shape, generator=generator) if name != "shapes" else 100 * torch.ones_like(each)
    shapes = adam.parameters["shapes"].grad
    assert shapes is not None
    shapes[:, 1] = torch.tensor(sharpness)


def test_the_ones_that_are_pulled_most_split_into_one_for_each_point(generator: torch.Generator) -> None:
    adam = convexes(generator)
    before = scene_gaussians(adam.parameters, "convex").detach()
    strategy = SharpnessStrategy(replace(OPTIONS, budget=Budget(9, 9)))
    pull(adam, [0.3, -0.1, 0.0, 0.2], generator)
    assert strategy.after_step(adam, step(1)).split == 0
    # Means are over the steps that saw it: 0.3 once, (0.1 + 0.9) / 2, 0, 0.2 once.
    pull(adam, [0.0, 0.9, 0.0, 0.0], generator)
    edits = strategy.after_step(adam, step(2))
    # Room for five more: one of five points takes four, two would take eight.
    assert edits.split == 1 and adam.count == 8
    after = scene_gaussians(adam.parameters, "convex").detach()
    for name, each in after.tensors().items():
        torch.testing.assert_close(each[:3], before.tensors()[name][[0, 2, 3]])
    parent = before.select(torch.tensor([1]))
    children = after.select(torch.arange(3, 8))
    assert parent.shapes is not None and children.shapes is not None
    local = (parent.shapes[0, 2:].reshape(5, 3) * parent.scales[0]).double()
    from splatlearn.core.geometry.quaternions import quaternions_to_matrices

    places = parent.means.double() + local @ quaternions_to_matrices(parent.quaternions.double())[0].T
    torch.testing.assert_close(children.means.double(), places, atol=1e-5, rtol=0)
    torch.testing.assert_close(children.scales, 0.63 * parent.scales.expand(5, 3))
    torch.testing.assert_close(children.opacities, 0.5 * parent.opacities.expand(5))
    assert torch.equal(children.shapes, parent.shapes.expand(5, -1)) and children.colors is not None
    assert parent.colors is not None and torch.equal(children.colors, parent.colors.expand(5, 3))
    first, second = adam.moments("means")
    assert not first[3:].any() and not second[3:].any()


def test_the_budget_is_never_exceeded(generator: torch.Generator) -> None:
    adam, strategy = convexes(generator), SharpnessStrategy(OPTIONS)
    for number in range(1, 100):
        pull(adam, torch.rand(adam.count, generator=generator).tolist(), generator)
        strategy.after_step(adam, step(number))
        share = number / 100
        assert adam.count <= max(4, OPTIONS.budget.at(share)) <= 9
    assert adam.count == 8 and strategy.cap == 9


def test_faint_and_large_ones_are_pruned_and_one_stays(generator: torch.Generator) -> None:
    adam = convexes(generator, (0.01, 0.6, 0.7, 0.02))
    strategy = SharpnessStrategy(replace(OPTIONS, budget=Budget(4, 4)))
    for number in (1, 2):
        pull(adam, [0.1] * 4, generator)
        edits = strategy.after_step(adam, step(number))
    assert edits.pruned == 2 and adam.count == 2
    with torch.no_grad():
        adam.parameters["log_scales"][0] = math.log(1e3)
    large = SharpnessStrategy(replace(OPTIONS, prune_size_from=0, prune_size=100.0, stop=1))
    assert large.after_step(adam, step(2)).pruned == 1
    with torch.no_grad():
        adam.parameters["logits"].fill_(-9.0)
    assert large.after_step(adam, step(4)).pruned == 0 and adam.count == 1


def test_state_and_what_the_fit_removes(generator: torch.Generator) -> None:
    adam, strategy = convexes(generator), SharpnessStrategy(OPTIONS)
    pull(adam, [0.3, 0.1, 0.0, 0.2], generator)
    strategy.after_step(adam, step(1))
    other = SharpnessStrategy(OPTIONS)
    other.load_state_dict(strategy.state_dict())
    for name, each in strategy.state_dict().items():
        assert torch.equal(other.state_dict()[name], each)
    other.follow(torch.tensor([True, False, True, True]))
    assert {len(each) for each in other.state_dict().values()} == {3}
    with pytest.raises(FormatError, match="state: expected the tensors gradient_sums, steps, got radii"):
        other.load_state_dict({"radii": torch.zeros(3)})


def test_other_primitives_are_refused(generator: torch.Generator) -> None:
    adam = convexes(generator)
    plain: dict[str, Tensor] = {name: each.detach() for name, each in adam.parameters.items() if name != "shapes"}
    with pytest.raises(InputError, match="strategy: expected convexes"):
        SharpnessStrategy(OPTIONS).after_step(GaussianAdam(plain, dict.fromkeys(plain, 1e-3)), step(1))
