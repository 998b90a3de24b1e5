"""Loss terms in a fit: without them nothing changes, with them gradients are right and a fit goes on bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from fitting.test_scene_fit import SCHEDULE, STRATEGIES, disturbed, pictures_of, scene
from fitting.test_scene_parameters import orbit
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneRates, SceneSchedule
from splatlearn.fitting.smoothing import Smoothing
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.fitting.terms.depth import DepthTerm
from splatlearn.fitting.terms.moments import depth_moments
from splatlearn.fitting.terms.regularisers import Distortion, OpacityEntropy, SmoothDepth
from splatlearn.fitting.terms.targets import DepthPoints, DepthTargets
from splatlearn.fitting.terms.term import Stateless, Term, TermInputs
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering import render

Function = Callable[[TermInputs], Tensor | None]


@dataclass(eq=False)
class Counting:
    """A term with a state: the number of its steps, by which it grows."""

    weight: Weight = field(default_factory=lambda: Weight(1e-3))
    name: str = "counting"
    needs_depth: bool = False
    count: int = 0

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        self.count += 1
        return self.count * inputs.gaussians.opacities.mean()

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"])


@dataclass(eq=False)
class Broken(Stateless):
    """A term that is not finite, or, with `gaussians`, as finite as the Gaussians are."""

    of_gaussians: bool
    weight: Weight = field(default_factory=lambda: Weight(1.0))
    name: str = "broken"
    needs_depth: bool = False

    def __call__(self, inputs: TermInputs) -> Float[Tensor, ""]:
        return inputs.gaussians.means.sum() * (1.0 if self.of_gaussians else float("nan"))


def fit_of(start: Gaussians, *terms: Term, strategy: str = "default") -> SceneFit:
    return SceneFit(start, 1.0, STRATEGIES[strategy](), SCHEDULE, terms)


def steps(
    fit: SceneFit, cameras: Camera, pictures: Tensor, first: int, last: int, depth: Tensor | None = None
) -> list[tuple[float, dict[str, float]]]:
    found = []
    for number in range(first, last + 1):
        which = torch.tensor([number % len(pictures), (number + 3) % len(pictures)])
        known = None if depth is None else DepthTargets(depth[which])
        result = fit.step(cameras[which], pictures[which], background=Draws(9, number).background(2), depth=known)
        found.append((result.loss, result.terms))
    return found


def test_terms_of_weight_0_change_no_bit(generator: torch.Generator) -> None:
    cameras, start = orbit(8), disturbed(scene(generator), generator)
    pictures = pictures_of(scene(generator), cameras)
    nothing = Weight(0.0)
    plain, with_terms = fit_of(start), fit_of(start, DepthTerm(nothing), SmoothDepth(nothing), Counting(nothing))
    first, second = (steps(fit, cameras, pictures, 1, 9) for fit in (plain, with_terms))
    assert first == second and first[0][1] == {}
    ours, theirs = plain.state_dict(), with_terms.state_dict()
    assert {key for key in theirs if key not in ours} == {"terms.counting.count"}
    assert all(torch.equal(each, theirs[key]) for key, each in ours.items())


def test_a_fit_with_terms_goes_on_with_the_same_bits(generator: torch.Generator) -> None:
    cameras, start = orbit(8), disturbed(scene(generator), generator)
    truth = scene(generator)
    pictures, depth = pictures_of(truth, cameras), render(truth, cameras, "black").depth

    def fit() -> SceneFit:
        terms = DepthTerm(Weight(0.1, 0.01, begin=2, end=12)), SmoothDepth(), Distortion(), OpacityEntropy(), Counting()
        return fit_of(start, *terms, strategy="mcmc")

    whole, first, second = fit(), fit(), fit()
    results = steps(whole, cameras, pictures, 1, 14, depth)
    assert set(results[0][1]) == {"smooth_depth", "distortion", "entropy", "counting"}
    assert set(results[1][1]) == {*results[0][1], "depth"}
    assert steps(first, cameras, pictures, 1, 8, depth) == results[:8]
    second.load_state_dict(first.state_dict())
    assert steps(second, cameras, pictures, 9, 14, depth) == results[8:]
    ours, theirs = whole.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(each, theirs[key]) for key, each in ours.items())
    with pytest.raises(FormatError, match=r"terms among those of this fit \(none\), got 'counting'"):
        fit_of(start).load_state_dict(first.state_dict())


def test_a_term_that_is_not_finite_skips_the_step(generator: torch.Generator) -> None:
    cameras, start = orbit(4), scene(generator)
    pictures = pictures_of(start, cameras)
    fit = fit_of(start, Broken(False))
    before = {name: each.clone() for name, each in fit.optimizer.parameters.items()}
    result = fit.step(cameras, pictures)
    assert result.skipped and result.terms["broken"] != result.terms["broken"] and fit.done == 1
    assert all(torch.equal(each, before[name]) for name, each in fit.optimizer.parameters.items())


def test_gaussians_that_spoil_a_term_are_removed(generator: torch.Generator) -> None:
    cameras, start = orbit(4), scene(generator)
    pictures = pictures_of(start, cameras)
    fit = fit_of(start, Broken(True))
    with torch.no_grad():
        fit.optimizer.parameters["means"][3] = torch.nan
    result = fit.step(cameras, pictures)
    assert result.removed == 1 and not result.skipped and fit.optimizer.count == start.count - 1


def test_names_of_terms_differ(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="expected different names without a point, got 'depth', 'depth'"):
        fit_of(scene(generator), DepthTerm(), DepthTerm())


@pytest.mark.parametrize(
    ("weight", "wanted"),
    [
        (Weight(0.5), [0.5, 0.5, 0.5]),
        (Weight(0.5, begin=3), [0.0, 0.5, 0.5]),
        (Weight(1.0, 0.01, begin=1, end=5), [1.0, 0.1, 0.01]),
    ],
)
def test_a_weight_follows_its_schedule(weight: Weight, wanted: list[float]) -> None:
    assert [weight.at(number) for number in (1, 3, 9)] == pytest.approx(wanted)


def test_a_weight_refuses_what_is_no_schedule() -> None:
    with pytest.raises(InputError, match="first: expected a finite number of at least 0, got -1"):
        Weight(-1.0)
    with pytest.raises(InputError, match="last: expected a finite number above 0, got 0"):
        Weight(1.0, 0.0, end=9)
    with pytest.raises(InputError, match="end: expected a step after 1, where the weight is 0.5, got None"):
        Weight(1.0, 0.5)


def double(gaussians: Gaussians) -> Gaussians:
    return gaussians.to(torch.float64)


def inputs_of(gaussians: Gaussians, cameras: Camera, pictures: Tensor, depth: DepthTargets | None) -> TermInputs:
    rendering = render(gaussians, cameras, "black", "torch", check=False)
    draws = Draws(0, 1)
    return TermInputs(1, 2.0, gaussians, rendering, cameras, pictures, None, "black", depth, draws, "torch")


def test_terms_have_the_gradients_of_finite_differences(generator: torch.Generator) -> None:
    cameras = orbit(2, 20).to(torch.float64)
    truth = double(scene(generator, 6))
    pictures = torch.rand(2, 3, 20, 20, generator=generator, dtype=torch.float64)
    depth = render(truth, cameras, "black", "torch").depth
    assert depth is not None
    points = DepthPoints(torch.tensor([0, 1]), torch.full((2, 2), 9.5), *torch.ones(2, 2))
    known = DepthTargets(1.1 * depth, points=points)
    alpha = depth_moments(truth, cameras, "torch").alpha

    def smoothness(inputs: TermInputs) -> Tensor:
        """The same with the alpha of the first place throughout: the term moves depths, not what covers a pixel."""
        inverse, total = 2.0 * inputs.moments.mean, torch.zeros((), dtype=torch.float64)
        near, far = torch.arange(19), torch.arange(1, 20)
        for axis in (1, 2):
            steps = (inverse.index_select(axis, far) - inverse.index_select(axis, near)).abs()
            edges = (pictures.index_select(axis + 1, far) - pictures.index_select(axis + 1, near)).abs().mean(dim=1)
            covered = alpha.index_select(axis, far) * alpha.index_select(axis, near)
            total = total + (steps * covered * (-10 * edges).exp()).mean()
        return total

    terms: list[Term] = [DepthTerm(), DepthTerm(kind="depth"), Distortion(), OpacityEntropy()]
    cases: list[tuple[Term, Function]] = [*((term, term) for term in terms), (SmoothDepth(), smoothness)]
    for term, oracle in cases:

        def value(means: Tensor, opacities: Tensor, function: Function = oracle) -> Tensor:
            found = function(inputs_of(replace(truth, means=means, opacities=opacities), cameras, pictures, known))
            assert found is not None
            return found

        arguments = truth.means.clone().requires_grad_(), truth.opacities.clone().requires_grad_()
        result = value(arguments[0], arguments[1], term)
        assert float(result.detach()) == pytest.approx(float(value(arguments[0], arguments[1]).detach()))
        result.backward()
        for which, argument in enumerate(arguments):
            gradient = torch.zeros_like(argument) if argument.grad is None else argument.grad
            direction = torch.randn(argument.shape, generator=generator, dtype=torch.float64)
            if which:
                direction *= 0.1
            step, there = 1e-6, [each.detach() for each in arguments]
            ends = []
            for sign in (1.0, -1.0):
                moved = [*there]
                moved[which] = there[which] + sign * step * direction
                ends.append(value(moved[0], moved[1]))
            slope = float((ends[0] - ends[1]) / (2 * step))
            along = float((gradient * direction).sum())
            assert along == pytest.approx(slope, rel=2e-3, abs=1e-7), (term.name, which)


def test_moments_are_those_of_a_sum_over_gaussians(generator: torch.Generator) -> None:
    """The oracle blends α in float64, pixel by pixel, in the order of depths."""
    cameras = orbit(2, 12).to(torch.float64)
    gaussians = double(scene(generator, 8))
    moments = depth_moments(gaussians, cameras, "torch")
    for view in range(2):
        camera = cameras[view]
        depths = gaussians.means @ camera.viewmats[2, :3] + camera.viewmats[2, 3]
        alphas = torch.stack(
            [
                render(gaussians.select(torch.tensor([index])), camera, "black", "torch").alpha
                for index in depths.argsort().tolist()
            ]
        )
        through = torch.cat([torch.ones_like(alphas[:1]), (1.0 - alphas).cumprod(dim=0)])
        weights, inverse = through[:-1] * alphas, 1.0 / depths.sort().values[:, None, None]
        pairs = weights[:, None] * weights[None] * (inverse[:, None] - inverse[None]).square()
        torch.testing.assert_close(moments.first[view], (weights * inverse).sum(dim=0), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(moments.distortion[view], pairs.sum(dim=(0, 1)) / 2, rtol=1e-5, atol=1e-10)


def test_moments_of_a_panorama_are_those_of_distances() -> None:
    """One Gaussian behind the camera, and one to the side of it, where the depth along the axis is 0."""
    for place in ((0.0, 0.0, -2.0), (2.0, 0.0, 0.0)):
        one = Gaussians(
            torch.tensor([place]), torch.full((1, 3), 0.3), torch.eye(4)[:1], torch.tensor([0.9]),
            colors=torch.ones(1, 3),
        )  # fmt: skip
        moments = depth_moments(one, Camera.panorama(16, 32, torch.eye(4)[None]))
        covered = moments.alpha > 0.2
        assert bool(covered.any())
        torch.testing.assert_close(moments.mean[covered], torch.full_like(moments.mean[covered], 0.5))


@dataclass(eq=False)
class Looking(Stateless):
    """A term that keeps the alphas of pictures, of their moments, and of moments with the filter "point"."""

    weight: Weight = field(default_factory=lambda: Weight(1.0))
    name: str = "looking"
    needs_depth: bool = False
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, inputs: TermInputs) -> None:
        other = depth_moments(inputs.gaussians, inputs.cameras)
        self.seen += [each.detach() for each in (inputs.rendering.alpha, inputs.moments.alpha, other.alpha)]


def test_moments_have_the_filter_of_the_pictures(generator: torch.Generator) -> None:
    cameras, truth = orbit(4), scene(generator)
    thin = replace(truth, scales=0.1 * truth.scales)
    looking, smoothing = Looking(), Smoothing([cameras[index] for index in range(4)])
    fit = SceneFit(thin, 1.0, STRATEGIES["mcmc"](), SCHEDULE, (looking,), smoothing=smoothing)
    fit.step(cameras, pictures_of(truth, cameras))
    picture, moments, other = looking.seen
    torch.testing.assert_close(moments, picture, rtol=0, atol=1e-5)
    assert float((other - picture).abs().max()) > 0.01


def test_depth_is_compared_where_it_is_known(generator: torch.Generator) -> None:
    """The oracle is a loop over pixels and points."""
    cameras, truth = orbit(2, 24), scene(generator)
    pictures = pictures_of(truth, cameras).float() / 255
    inputs = inputs_of(truth, cameras, pictures, None)
    found, alpha = inputs.rendering.depth, inputs.rendering.alpha
    assert found is not None
    maps = torch.where(torch.rand(2, 24, 24, generator=generator) < 0.3, 3.0 + torch.rand(2, 24, 24), 0.0)
    weights = torch.rand(2, 24, 24, generator=generator)
    points = DepthPoints(
        torch.tensor([0, 1, 1]),
        torch.tensor([[3.2, 20.9], [12.0, 12.0], [24.5, 3.0]]),
        torch.tensor([3.5, 4.5, 4.0]),
        torch.tensor([2.0, 1.0, 9.0]),
    )
    masks = (torch.rand(2, 24, 24, generator=generator) < 0.8).float()
    known = DepthTargets(maps, weights, points)
    for kind, power in (("inverse", -1), ("depth", 1)):
        total = norm = 0.0
        for view in range(2):
            for row in range(24):
                for column in range(24):
                    places = [(float(maps[view, row, column]), float(weights[view, row, column]))]
                    if (view, row, column) == (0, 20, 3):
                        places.append((3.5, 2.0))
                    if (view, row, column) == (1, 12, 12):
                        places.append((4.5, 1.0))
                    for depth, weight in places:
                        if depth > 0 and alpha[view, row, column] > 0.1:
                            weight *= float(masks[view, row, column])
                            here = float(found[view, row, column])
                            total += weight * abs((here / 2.0) ** power - (depth / 2.0) ** power)
                            norm += weight
        term = DepthTerm(kind=kind)(replace(inputs, depth=known, masks=masks))  # pyright: ignore[reportArgumentType]
        assert term is not None
        assert float(term) == pytest.approx(total / norm, rel=1e-5)
    assert DepthTerm()(inputs) is None
    assert DepthTerm()(replace(inputs, depth=DepthTargets(torch.zeros(2, 24, 24)))) is None
    with pytest.raises(InputError, match="maps: expected depths of"):
        DepthTerm()(replace(inputs, depth=DepthTargets(torch.ones(2, 12, 24))))


def test_supervised_depth_is_found() -> None:
    """A flat grey picture says nothing of its distance; depths do."""
    generator = torch.Generator().manual_seed(1)
    count, cameras = 400, Camera(32, 32, 40.0, 40.0, 16.0, 16.0, viewmats=torch.eye(4)[None])
    plane = torch.rand(count, 2, generator=generator) * 2.4 - 1.2
    start = Gaussians(
        means=torch.cat([plane * 2, torch.full((count, 1), 4.0)], dim=-1),
        scales=torch.full((count, 3), 0.2),
        quaternions=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.7),
        colors=torch.full((count, 3), 0.5),
    )
    picture, wanted = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 32, 32), 3.0)
    errors = []
    schedule = SceneSchedule(steps=150, rates=SceneRates(position=4e-3, position_last=4e-4), degree=0)
    for terms in ((), (DepthTerm(Weight(1.0)),)):
        fit = SceneFit(start, 5.0, DefaultStrategy(DefaultOptions(stop=0)), schedule, terms)
        for _ in range(150):
            fit.step(cameras, picture, depth=DepthTargets(wanted))
        depth = render(fit.gaussians().detach(), cameras, "black").depth
        assert depth is not None
        errors.append(float((depth - wanted).abs().median()))
    assert errors[0] > 0.5 and errors[1] < 0.05
