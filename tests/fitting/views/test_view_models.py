"""View models: their rows move as Adam moves each alone, they compose, and a fit with them goes on to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fitting.test_scene_fit import SCHEDULE, STRATEGIES, disturbed, orbit, pictures_of, scene
from scenes import random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.views.step import StepResult
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.fitting.views.view_rows import Rate, ViewRows
from splatlearn.runs.tensor_files import TensorFiles, write_tensors


class Gain(ViewModel):
    """A factor of the colours of each photograph."""

    name = "gain"

    def __init__(self, count: int, rate: float = 0.02) -> None:
        super().__init__(ViewRows({"log": torch.zeros(count)}, {"log": Rate(rate, rate)}))

    def picture(self, seen: SeenViews, color: Tensor) -> Tensor:
        return color * self.rows.of("log", seen.ids).exp()[:, None, None, None]

    def penalty(self, seen: SeenViews) -> Tensor:
        return 1e-3 * self.rows["log"].square().sum()


class Twice(ViewModel):
    """Each camera twice, the two with Gaussians of their own, and the mean of their pictures."""

    name = "twice"

    def __init__(self, count: int) -> None:
        super().__init__(ViewRows({"none": torch.zeros(count)}, {"none": Rate(0.0, 0.0)}))
        self.met: list[list[int]] = []

    def cameras(self, seen: SeenViews, cameras: Camera) -> Camera:
        return cameras.map(lambda each: each.repeat_interleave(2, 0))

    def gaussians(self, seen: SeenViews, cameras: Camera, gaussians: Gaussians) -> Gaussians:
        count = cameras.batch_shape[0]
        return gaussians.map(lambda each: each.expand(count, *each.shape))

    def picture(self, seen: SeenViews, color: Tensor) -> Tensor:
        self.met.append(seen.ids.tolist())
        return color.unflatten(0, (-1, 2)).mean(1)


def step(fit: SceneFit, cameras: Camera, pictures: Tensor, number: int) -> StepResult:
    which = torch.tensor([number % len(pictures), (number + 3) % len(pictures)])
    return fit.step(cameras[which], pictures[which], views=which)


def test_each_row_moves_as_adam_moves_it_alone(generator: torch.Generator) -> None:
    """The oracle is one optimiser of PyTorch for each row."""
    start = {"a": torch.randn(4, 3, generator=generator), "b": torch.randn(4, generator=generator)}
    rates = {"a": Rate(1e-2, 1e-3), "b": Rate(0.5, 0.5, begin=0.3)}
    rows = ViewRows(start, rates)
    alone = [{name: each[row].clone().requires_grad_() for name, each in start.items()} for row in range(4)]
    adams = [
        torch.optim.Adam([{"params": [each], "name": name} for name, each in own.items()], eps=1e-15) for own in alone
    ]
    visited = [[0, 2], [2, 2], [1, 0], [2, 1], [0, 1], [2, 0]]
    for number, ids in enumerate(visited, 1):
        wanted = {name: torch.randn(each.shape, generator=generator) for name, each in start.items()}
        loss = sum((rows.of(name, torch.tensor(ids)) * each[ids]).sum() for name, each in wanted.items())
        assert isinstance(loss, Tensor)
        loss.backward()
        rows.step(torch.tensor(ids), number, 6)
        assert all(each.grad is None for each in rows.parameters.values())
        for row in set(ids):
            for group in adams[row].param_groups:
                group["lr"] = rates[group["name"]].at(number, 6)
                group["params"][0].grad = ids.count(row) * wanted[group["name"]][row]
            adams[row].step()
    for row, own in enumerate(alone):
        for name, each in own.items():
            torch.testing.assert_close(rows[name][row], each, rtol=1e-5, atol=1e-6)
    assert torch.equal(rows["a"][3], start["a"][3])


def test_rates_fall_exponentially_and_hold_until_they_begin() -> None:
    rate = Rate(1e-2, 1e-4, begin=0.25)
    assert rate.at(24, 100) == 0 and rate.at(25, 100) == pytest.approx(1e-2 * 10**-0.5)
    assert rate.at(50, 100) == pytest.approx(1e-3) and rate.at(300, 100) == pytest.approx(1e-4)
    assert Rate(0.0, 0.0).at(1, 10) == 0
    with pytest.raises(InputError, match="two numbers above 0 or two of 0"):
        Rate(1e-3, 0.0)


def test_a_fit_with_models_goes_on_from_a_file_with_the_same_bits(generator: torch.Generator, tmp_path: Path) -> None:
    cameras, start = orbit(8), disturbed(scene(generator), generator)
    pictures = pictures_of(scene(generator), cameras)

    def fit(first: Gaussians) -> SceneFit:
        return SceneFit(first, 1.0, STRATEGIES["default"](), SCHEDULE, view_models=(Twice(8), Gain(8)))

    whole = fit(start)
    results = [step(whole, cameras, pictures, number) for number in range(1, 16)]
    part = fit(start)
    assert [step(part, cameras, pictures, number) for number in range(1, 8)] == results[:7]
    write_tensors(tmp_path, "scene", part.state_dict())
    second = fit(random_sh(generator, 0, (), 3))
    second.load_state_dict(TensorFiles(tmp_path, "scene").all())
    assert [step(second, cameras, pictures, number) for number in range(8, 16)] == results[7:]
    ours, theirs = whole.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys() and {"views.gain.log", "views.gain.steps", "views.twice.none"} <= ours.keys()
    assert all(torch.equal(each, theirs[key]) for key, each in ours.items())
    assert ours["views.gain.log"].abs().min() > 0


def test_known_gains_are_recovered(generator: torch.Generator) -> None:
    truth, cameras = scene(generator), orbit(6)
    gains = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    pictures = (pictures_of(truth, cameras) * gains[:, None, None, None]).round().to(torch.uint8)
    fit = SceneFit(truth, 1e-6, DefaultStrategy(DefaultOptions(stop=0)), SCHEDULE, view_models=(Gain(6),))
    fit.schedule = replace(SCHEDULE, rates=replace(SCHEDULE.rates, color=0.0, opacity=0.0, scale=0.0, rotation=0.0))
    for number in range(300):
        step(fit, cameras, pictures, number)
    found = fit.view_models.models[0].rows["log"].detach().exp()
    torch.testing.assert_close(found, gains, rtol=0.05, atol=0)


def test_models_that_multiply_cameras_see_every_picture(generator: torch.Generator) -> None:
    """Two equal pictures and their mean are one picture: the loss is that of the plain fit."""
    truth, cameras = scene(generator), orbit(8)
    pictures, start = pictures_of(truth, cameras), disturbed(truth, generator)
    twice = Twice(8)
    losses = []
    for models in ((), (twice,), (Gain(8), twice)):
        fit = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE, view_models=models)
        losses.append(step(fit, cameras, pictures, 1).loss)
    assert losses[1:] == [pytest.approx(losses[0], rel=1e-6)] * 2
    assert twice.met == [[1, 1, 4, 4]] * 2


def test_models_that_are_not_there_are_named(generator: torch.Generator) -> None:
    cameras, start = orbit(4), scene(generator)
    pictures = pictures_of(start, cameras)
    fit = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE, view_models=(Gain(4),))
    with pytest.raises(InputError, match=r"views: expected the rows of 4 photographs .* gain, got none"):
        fit.step(cameras, pictures)
    with pytest.raises(InputError, match="views: expected rows from 0 to 3, got 1 to 4"):
        fit.step(cameras, pictures, views=torch.arange(1, 5))
    with pytest.raises(InputError, match="view_models: expected a name for each, got gain, gain"):
        SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE, view_models=(Gain(4), Gain(4)))
    with pytest.raises(InputError, match=r"rows for the same photographs, got \[3, 4\]"):
        SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE, view_models=(Gain(4), Twice(3)))
    plain = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE)
    with pytest.raises(FormatError, match="expected the view models none, got gain"):
        plain.load_state_dict(fit.state_dict())
    with pytest.raises(FormatError, match="expected the view models gain, got none"):
        fit.load_state_dict(plain.state_dict())
    plain.load_state_dict(plain.state_dict())
