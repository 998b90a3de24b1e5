"""The fit of a scene: it recovers known Gaussians, repeats itself, and survives what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fitting.test_scene_parameters import orbit
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import SceneRates, camera_extent, psnr, scattered_gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.strategy import Edits, Strategy
from splatlearn.rendering import render
from splatlearn.runs.tensor_files import TensorFiles, write_tensors

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "default": lambda: DefaultStrategy(DefaultOptions(cap=90, start=0, every=4, stop=30, reset_every=10)),
    "absgrad": lambda: DefaultStrategy(
        replace(DefaultOptions.for_steps(1, 400, absgrad=True), start=0, every=4, stop=30)
    ),
    "mcmc": lambda: MCMCStrategy(MCMCOptions(cap=90, start=0, every=4, stop=30)),
}
SCHEDULE = SceneSchedule(steps=40, degree=2, degree_every=6, seed=5)


def pictures_of(gaussians: Gaussians, cameras: Camera, background: str = "black") -> Tensor:
    color = render(gaussians, cameras, background, depth=False).color
    return (255 * color.clamp(0, 1)).round().to(torch.uint8)


def scene(generator: torch.Generator, count: int = 40) -> Gaussians:
    """Small Gaussians of all kinds of colours in the middle."""
    start = random_sh(generator, 0, (), count)
    assert start.sh is not None
    return replace(start, means=0.8 * start.means, scales=0.4 * start.scales + 0.03, sh=0.8 * start.sh)


def disturbed(truth: Gaussians, generator: torch.Generator) -> Gaussians:
    assert truth.sh is not None

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    return replace(
        truth,
        means=truth.means + 0.03 * noise(truth.means),
        scales=truth.scales * (0.2 * noise(truth.scales)).exp(),
        opacities=0.5 * truth.opacities + 0.2,
        sh=truth.sh + 0.3 * noise(truth.sh),
    )


def run(fit: SceneFit, cameras: Camera, pictures: Tensor, first: int, last: int) -> list[tuple[float, Edits]]:
    results = []
    for number in range(first, last + 1):
        which = torch.tensor([number % len(pictures), (number + 3) % len(pictures)])
        background = Draws(9, number).background(2)
        result = fit.step(cameras[which], pictures[which], background=background)
        results.append((result.loss, result.edits))
    return results


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_fit_that_goes_on_from_a_file_makes_the_same_bits(
    name: str, generator: torch.Generator, tmp_path: Path
) -> None:
    cameras, start = orbit(8), disturbed(scene(generator), generator)
    pictures = pictures_of(scene(generator), cameras)
    whole = SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE)
    results = run(whole, cameras, pictures, 1, 22)
    assert any(edits != Edits() for _, edits in results[:13]) and any(edits != Edits() for _, edits in results[13:])
    assert whole.optimizer.count <= (whole.strategy.cap or 0) and whole.optimizer.parameters["sh"].shape[1] == 9

    first = SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE)
    assert run(first, cameras, pictures, 1, 13) == results[:13]
    write_tensors(tmp_path, "scene", first.state_dict())
    second = SceneFit(random_sh(generator, 0, (), 3), 1.0, STRATEGIES[name](), SCHEDULE)
    second.load_state_dict(TensorFiles(tmp_path, "scene").all())
    assert second.done == 13
    assert run(second, cameras, pictures, 14, 22) == results[13:]
    ours, theirs = whole.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(each, theirs[key]) for key, each in ours.items())


def test_a_step_is_the_same_on_two_threads(generator: torch.Generator) -> None:
    cameras, start = orbit(4), disturbed(scene(generator), generator)
    pictures, before = pictures_of(scene(generator), cameras), torch.get_num_threads()
    fits = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            fits.append(SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE))
            run(fits[-1], cameras, pictures, 1, 5)
    finally:
        torch.set_num_threads(before)
    first, second = (fit.state_dict() for fit in fits)
    assert all(torch.equal(each, second[key]) for key, each in first.items())


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_unit_of_the_world_makes_no_difference(name: str, generator: torch.Generator) -> None:
    cameras, start = orbit(6), disturbed(scene(generator), generator)
    pictures = pictures_of(scene(generator), cameras)
    views = cameras.viewmats.clone()
    views[:, :3, 3] *= 4.0
    small = SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE)
    large = SceneFit(start.transformed(scale=4.0), 4.0, STRATEGIES[name](), SCHEDULE)
    before = run(small, cameras, pictures, 1, 9)
    after = run(large, replace(cameras, viewmats=views), pictures, 1, 9)
    assert [edits for _, edits in before] == [edits for _, edits in after]
    assert any(edits != Edits() for _, edits in before)
    torch.testing.assert_close(
        torch.tensor([loss for loss, _ in before]), torch.tensor([loss for loss, _ in after]), rtol=1e-3, atol=0
    )


def test_known_gaussians_are_recovered(generator: torch.Generator) -> None:
    truth, cameras = scene(generator), orbit(14, 32)
    pictures = pictures_of(truth, cameras)
    train = torch.tensor([index for index in range(14) if index % 7 != 3])
    schedule = SceneSchedule(steps=250, degree=0)
    fit = SceneFit(disturbed(truth, generator), 20.0, DefaultStrategy(DefaultOptions(stop=0)), schedule)
    held_out = cameras[torch.tensor([3, 10])]

    def quality() -> float:
        color = render(fit.gaussians().detach(), held_out, "black", depth=False).color
        return float(psnr(color, pictures[[3, 10]]).min())

    before = quality()
    for number in range(schedule.steps):
        fit.step(cameras[train[number % 3 :: 3]], pictures[train[number % 3 :: 3]])
    assert before < 30
    assert quality() >= 40


@pytest.mark.large
@pytest.mark.parametrize("name", ["default", "absgrad", "mcmc"])
def test_a_scene_is_recovered_from_random_places(name: str) -> None:
    """Nothing of the scene is known but its pictures: each strategy finds a number of Gaussians that shows it."""
    generator = torch.Generator().manual_seed(3)
    truth, cameras = scene(generator, 60), orbit(40, 64)
    pictures = pictures_of(truth, cameras)
    held_out = torch.arange(3, 40, 8)
    train = torch.tensor([index for index in range(40) if index not in held_out.tolist()])
    steps = 1500
    if name == "mcmc":
        strategy: Strategy = MCMCStrategy(replace(MCMCOptions.for_steps(steps, 2_000), opacity_weight=1e-3, noise=5e4))
    else:
        strategy = DefaultStrategy(DefaultOptions.for_steps(steps, 2_000, absgrad=name == "absgrad"))
    rates = SceneRates(position=4e-4, position_last=1.6e-5, scale=1e-2, color=5e-3)
    schedule = SceneSchedule(steps=steps, degree=0, rates=rates)
    fit = SceneFit(scattered_gaussians(cameras, 1_000), camera_extent(cameras.centers), strategy, schedule)
    counts = []
    for number in range(steps):
        which = train[number % len(train)][None]
        fit.step(cameras[which], pictures[which])
        counts.append(fit.optimizer.count)
    color = render(fit.gaussians().detach(), cameras[held_out], "black", depth=False).color
    assert float(psnr(color, pictures[held_out]).mean()) >= 33
    assert max(counts) <= 2_000 and len(set(counts)) > 5


def test_a_loss_is_that_of_the_pictures_over_their_background(generator: torch.Generator) -> None:
    truth, cameras = scene(generator), orbit(2)
    rendering = render(truth, cameras, "black")
    color = (rendering.color / rendering.alpha.unsqueeze(1).clamp_min(1e-3)).clamp(0, 1)
    rgba = (255 * torch.cat([color, rendering.alpha.unsqueeze(1)], dim=1)).round().to(torch.uint8)
    background = torch.tensor([[0.9, 0.1, 0.4], [0.2, 0.8, 0.6]])
    fits = [SceneFit(truth, 1.0, MCMCStrategy(MCMCOptions(cap=99)), SCHEDULE) for _ in range(2)]
    assert fits[0].step(cameras, rgba, background=background).loss < 0.01
    assert fits[1].step(cameras, rgba[:, :3], background=background).loss > 0.05


def test_pixels_outside_of_masks_change_nothing(generator: torch.Generator) -> None:
    cameras, start = orbit(2), scene(generator)
    pictures = pictures_of(disturbed(start, generator), cameras)
    masks = torch.ones(2, 48, 48, dtype=torch.bool)
    masks[:, :, 20:] = False
    spoilt = pictures.clone()
    spoilt[..., 20:] = 77
    fits = [SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE) for _ in range(2)]
    losses = [fit.step(cameras, each, masks).loss for fit, each in zip(fits, (pictures, spoilt), strict=True)]
    assert losses[0] == losses[1] > 0
    assert all(map(torch.equal, fits[0].state_dict().values(), fits[1].state_dict().values()))


def test_harmonics_rise_by_degree_and_keep_a_higher_start(generator: torch.Generator) -> None:
    cameras = orbit(2)
    pictures = pictures_of(scene(generator), cameras)
    degrees = []
    fit = SceneFit(scene(generator), 1.0, MCMCStrategy(), replace(SCHEDULE, degree_every=2, degree=2))
    for _ in range(6):
        fit.step(cameras, pictures)
        degrees.append(fit.gaussians().degree)
    assert degrees == [0, 1, 1, 2, 2, 2]
    fit = SceneFit(random_sh(generator, 3, (), 9), 1.0, MCMCStrategy(), replace(SCHEDULE, degree_every=1, degree=2))
    fit.step(cameras, pictures)
    assert fit.gaussians().degree == 3
    fit = SceneFit(random_gaussians(generator, (), 9), 1.0, MCMCStrategy(), replace(SCHEDULE, degree_every=1))
    fit.step(cameras, pictures)
    assert fit.gaussians().colors is not None


def test_gaussians_that_are_not_finite_are_removed_and_the_fit_goes_on(generator: torch.Generator) -> None:
    cameras, start = orbit(2), scene(generator)
    pictures = pictures_of(start, cameras)
    fit = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE)
    fit.step(cameras, pictures)
    with torch.no_grad():
        fit.optimizer.parameters["means"][3] = float("nan")
        fit.optimizer.parameters["log_scales"][7, 1] = float("nan")
    result = fit.step(cameras, pictures)
    assert result.removed == 2 and not result.skipped and 0 <= result.loss < 0.1
    assert fit.optimizer.count == 38 and fit.step(cameras, pictures).removed == 0
    for each in fit.state_dict().values():
        assert each.isfinite().all()


def test_a_step_whose_loss_is_not_finite_moves_nothing(generator: torch.Generator) -> None:
    cameras, start = orbit(2), scene(generator)
    fit = SceneFit(start, 1.0, STRATEGIES["mcmc"](), SCHEDULE)
    before = {key: each.clone() for key, each in fit.state_dict().items()}
    result = fit.step(cameras, torch.full((2, 3, 48, 48), float("nan")))
    assert result.skipped and result.removed == 0 and result.loss != result.loss
    after = fit.state_dict()
    assert all(torch.equal(each, after[key]) for key, each in before.items() if key != "done")
    assert fit.done == 1 and not fit.step(cameras, pictures_of(start, cameras)).skipped
    with torch.no_grad():
        fit.optimizer.parameters["means"][:] = float("nan")
    with pytest.raises(InputError, match="^gaussians: expected at least one that is finite, got 40 that are not"):
        fit.step(cameras, pictures_of(start, cameras))


@pytest.mark.usefixtures("no_shape_checks")
def test_wrong_arguments_are_named(generator: torch.Generator) -> None:
    start = scene(generator)
    with pytest.raises(InputError, match="^extent: expected a finite number above 0"):
        SceneFit(start, 0.0, MCMCStrategy())
    with pytest.raises(InputError, match="^start: expected at most the strategy's cap of 39 Gaussians, got 40"):
        SceneFit(start, 1.0, MCMCStrategy(MCMCOptions(cap=39)))
    fit = SceneFit(start, 1.0, MCMCStrategy())
    for views, shape in (orbit(1)[0], r"\[\]"), (orbit(1)[:0], r"\[0\]"):
        with pytest.raises(InputError, match=rf"^cameras: expected a batch \[V\] of at least one view, got {shape}$"):
            fit.step(views, torch.zeros(1, 3, 48, 48, dtype=torch.uint8))
    with pytest.raises(InputError, match="^degree: expected a whole number"):
        SceneSchedule(degree=5)
    state = fit.state_dict()
    with pytest.raises(FormatError, match="^state: expected names that begin with parameters, optimizer, strategy"):
        fit.load_state_dict({**state, "odd": state["done"]})
    with pytest.raises(FormatError, match="^state: expected done and the parameters log_scales, logits, means"):
        fit.load_state_dict({key: each for key, each in state.items() if key != "parameters.sh"})
