"""Steps over several views: the gradient is the mean, views of all sizes count, and bits repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fitting.test_scene_fit import STRATEGIES, disturbed, pictures_of, scene
from fitting.test_scene_parameters import orbit
from rendering.compiled import relative_error
from splatlearn.core.cameras import Camera, PixelGrid
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import ViewBatch, photometric_loss
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_parameters import scene_gaussians
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.strategy import Edits, Step
from splatlearn.fitting.terms.regularisers import OpacityEntropy
from splatlearn.fitting.terms.targets import DepthPoints, DepthTargets
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering import render
from splatlearn.runs.tensor_files import TensorFiles, write_tensors

SCHEDULE = SceneSchedule(steps=40, degree=1, degree_every=6, seed=5)
SIZES = (24, 32)


class Watched(MCMCStrategy):
    """Edits nothing, and keeps the gradients of a step."""

    def __init__(self) -> None:
        super().__init__(MCMCOptions(stop=0, noise=0, opacity_weight=0, scale_weight=0))
        self.gradients: dict[str, Tensor] = {}

    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        self.gradients = {
            name: each.grad.clone() for name, each in optimizer.parameters.items() if each.grad is not None
        }
        return super().after_step(optimizer, step)


def views_of(generator: torch.Generator, dtype: torch.dtype = torch.float32) -> tuple[Gaussians, list[ViewBatch]]:
    """A start, and three views of two sizes, one by one."""
    truth, start = scene(generator), disturbed(scene(generator), generator)
    batches = []
    for number, size in enumerate((SIZES[0], SIZES[1], SIZES[0])):
        cameras = orbit(5, size)
        which = torch.tensor([number])
        batches.append(ViewBatch(cameras[which], pictures_of(truth, cameras)[which], background=(0.2, 0.5, 0.1)))
    start = start.with_degree(1).to(dtype)
    return start, [replace(each, cameras=each.cameras.to(dtype)) for each in batches]


def together(first: ViewBatch, second: ViewBatch) -> ViewBatch:
    cameras = replace(first.cameras, viewmats=torch.cat([first.cameras.viewmats, second.cameras.viewmats]))
    return replace(first, cameras=cameras, targets=torch.cat([first.targets, second.targets]))


def gradients_of(start: Gaussians, batches: list[ViewBatch], backend: str) -> tuple[dict[str, Tensor], float]:
    strategy = Watched()
    fit = SceneFit(start, 1.0, strategy, replace(SCHEDULE, backend=backend))
    loss = fit.step_on(batches).loss
    return strategy.gradients, loss


@pytest.mark.parametrize(("backend", "dtype", "most"), [("torch", torch.float64, 1e-12), ("cpu", torch.float32, 2e-5)])
def test_the_gradient_of_many_views_is_the_mean_of_their_gradients(
    backend: str, dtype: torch.dtype, most: float, generator: torch.Generator
) -> None:
    start, (first, other, third) = views_of(generator, dtype)
    whole, loss = gradients_of(start, [together(first, third), other], backend)
    # Each view alone, by autograd of the loss of one picture, without a step.
    losses = []
    leaves = {name: each.requires_grad_() for name, each in parameters_of(start).items()}
    for each in (first, other, third):
        made = render(scene_gaussians(leaves), each.cameras, each.background, backend, depth=False)
        losses.append(photometric_loss(made.color, each.targets, each.background))
    singles = [torch.autograd.grad(each, [*leaves.values()], retain_graph=True) for each in losses]
    for name, *of_views in zip(leaves, *singles, strict=True):
        assert relative_error(whole[name], torch.stack(of_views).mean(0)) < most, name
    assert loss == pytest.approx(float(torch.stack(losses).detach().mean()), rel=1e-6)


def parameters_of(start: Gaussians) -> dict[str, Tensor]:
    fit = SceneFit(start, 1.0, Watched(), SCHEDULE)
    return {name: each.detach().clone() for name, each in fit.optimizer.parameters.items()}


def test_batches_of_one_size_are_as_one_batch(generator: torch.Generator) -> None:
    start, (first, _, third) = views_of(generator)
    whole, loss = gradients_of(start, [together(first, third)], "auto")
    parts, parts_loss = gradients_of(start, [first, third], "auto")
    assert loss == pytest.approx(parts_loss, rel=1e-6)
    for name, each in whole.items():
        assert relative_error(parts[name], each) < 1e-5, name


def test_statistics_are_those_of_all_views(generator: torch.Generator) -> None:
    start, batches = views_of(generator)
    seen = []
    for chosen in ([batches[0]], [batches[1]], [batches[2]], [together(batches[0], batches[2]), batches[1]]):
        strategy = DefaultStrategy(DefaultOptions(start=100, stop=200))
        SceneFit(start, 1.0, strategy, SCHEDULE).step_on(chosen)
        seen.append(strategy.state_dict())
    *singles, whole = seen
    for name in ("gradient_sums", "views"):
        assert relative_error(whole[name], torch.stack([each[name] for each in singles]).sum(0)) < 1e-4, name
    radii = torch.stack([each["radii"] for each in singles]).amax(0)
    assert torch.equal(whole["radii"], radii)
    assert float(whole["views"].max()) == 3.0


def steps(fit: SceneFit, batches: list[ViewBatch], first: int, last: int) -> list[tuple[float, Edits]]:
    """Steps of one to three views, some of them of a grid."""
    found = []
    for number in range(first, last + 1):
        grid = PixelGrid(2, number % 2, number // 2 % 2)
        chosen = [replace(each, grid=grid) if number % 3 else each for each in batches[: 1 + number % 3]]
        result = fit.step_on(chosen)
        found.append((result.loss, result.edits))
    return found


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_fit_goes_on_and_repeats_its_bits_on_any_number_of_threads(
    name: str, generator: torch.Generator, tmp_path: Path
) -> None:
    start, batches = views_of(generator)
    before, fits, results = torch.get_num_threads(), [], []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            fits.append(SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE))
            results.append(steps(fits[-1], batches, 1, 14))
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1]
    first = SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE)
    assert steps(first, batches, 1, 9) == results[0][:9]
    write_tensors(tmp_path, "scene", first.state_dict())
    fits.append(SceneFit(start, 1.0, STRATEGIES[name](), SCHEDULE))
    fits[-1].load_state_dict(TensorFiles(tmp_path, "scene").all())
    assert steps(fits[-1], batches, 10, 14) == results[0][9:]
    whole, *others = (fit.state_dict() for fit in fits)
    assert all(torch.equal(each, other[key]) for other in others for key, each in whole.items())


def test_a_grid_sees_the_pixels_of_the_picture(generator: torch.Generator) -> None:
    start, (batch, *_) = views_of(generator)
    grid = PixelGrid(2, 1, 0)
    found, _ = gradients_of(start, [replace(batch, grid=grid)], "auto")
    leaves = {name: each.requires_grad_() for name, each in parameters_of(start).items()}
    color = render(scene_gaussians(leaves), batch.cameras, batch.background, depth=False).color
    loss = photometric_loss(grid.of(color), grid.of(batch.targets), batch.background)
    for name, each in zip(leaves, torch.autograd.grad(loss, [*leaves.values()]), strict=True):
        assert relative_error(found[name], each) < 2e-4, name


def test_a_loss_that_is_not_finite_moves_nothing_whatever_came_before(generator: torch.Generator) -> None:
    start, (first, other, third) = views_of(generator)
    fit = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE)
    broken = replace(third, targets=torch.full(third.targets.shape, torch.nan))
    before = {name: each.clone() for name, each in fit.state_dict().items() if name != "done"}
    assert fit.step_on([first, broken, other]).skipped
    after = fit.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    assert all(each.grad is None for each in fit.optimizer.parameters.values())
    again = SceneFit(start, 1.0, STRATEGIES["default"](), SCHEDULE)
    again.done = 1
    assert fit.step_on([first]) == again.step_on([first])


def test_errors_say_what_is_wrong(generator: torch.Generator) -> None:
    start, (batch, *_) = views_of(generator)
    fit = SceneFit(start, 1.0, Watched(), SCHEDULE)
    with pytest.raises(InputError, match="batches: expected at least one"):
        fit.step_on([])
    single: Any = Camera(8, 8, 8.0, 8.0, 4.0, 4.0)
    with pytest.raises(InputError, match=r"cameras: expected a batch \[V\]"):
        ViewBatch(single, batch.targets)
    terms = SceneFit(start, 1.0, Watched(), SCHEDULE, [OpacityEntropy(Weight(0.1))])
    with pytest.raises(InputError, match="grid: expected whole pictures in a fit with terms"):
        terms.step_on([replace(batch, grid=PixelGrid(2))])


def test_known_depths_of_single_views_are_joined(generator: torch.Generator) -> None:
    maps = torch.rand(3, 1, 4, 5, generator=generator)
    points = [
        DepthPoints(
            torch.zeros(count, dtype=torch.int64),
            torch.rand(count, 2, generator=generator) * 4,
            torch.ones(count),
            torch.full((count,), 0.5),
        )
        for count in (2, 3)
    ]
    single = [DepthTargets(maps[0], points=points[0]), DepthTargets(maps[1]), DepthTargets(maps[2], points=points[1])]
    joined = DepthTargets.cat(single).known((4, 5))
    expected = [each.known((4, 5)) for each in single]
    for place, each in enumerate(expected):
        here = joined.views == place
        for name in ("rows", "columns", "depths", "weights"):
            assert torch.equal(getattr(joined, name)[here].sort().values, getattr(each, name).sort().values), name
    assert len(joined.views) == sum(len(each.views) for each in expected)
