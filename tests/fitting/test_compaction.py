"""What makes files small while a scene is fitted: masks that switch Gaussians off, rounding, a grid of neighbours."""

from dataclasses import replace

import pytest
import torch

from fitting.test_scene_parameters import orbit
from scenes import random_sh
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.compaction.mask import NAME, Mask
from splatlearn.fitting.compaction.rounding import Rounding
from splatlearn.fitting.compaction.shaping import Shaping
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.fitting.strategies.still import StillStrategy
from splatlearn.fitting.terms.grid import GridSmoothness, _blurred, sorted_by
from splatlearn.fitting.terms.weight import Weight
from splatlearn.rendering import render

CAMERAS = orbit(6)


def cloud(generator: torch.Generator, count: int = 40) -> Gaussians:
    made = random_sh(generator, 0, (), count)
    return replace(made, means=0.8 * made.means, scales=0.1 * made.scales)


def fit_of(start: Gaussians, shapings: tuple[Shaping, ...] = (), terms: tuple[GridSmoothness, ...] = ()) -> SceneFit:
    strategy = MCMCStrategy(MCMCOptions(cap=60, start=0, every=4, stop=30)) if terms else StillStrategy()
    schedule = SceneSchedule(steps=30, degree=1, degree_every=6, seed=5)
    return SceneFit(start, 1.0, strategy, schedule, terms, shapings=shapings)


def step(fit: SceneFit, number: int, targets: torch.Tensor) -> float:
    view = number % len(targets)
    return fit.step(CAMERAS[view : view + 1], targets[view : view + 1]).loss


def test_a_mask_is_0_or_1_with_the_derivative_of_a_sigmoid(generator: torch.Generator) -> None:
    gaussians = cloud(generator, 5).to(torch.float64)
    masks = torch.tensor([-9.0, -4.7, -4.5, 0.0, 2.0], dtype=torch.float64).requires_grad_()
    drawn = Mask(1e-3, 30).of(gaussians, {NAME: masks}, 1)
    # 0.01 is the sigmoid of −4.595.
    is_on = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(drawn.opacities, gaussians.opacities * is_on)
    torch.testing.assert_close(drawn.scales, gaussians.scales * is_on[:, None])
    (drawn.opacities.sum() + drawn.scales.sum()).backward()
    slope = masks.detach().sigmoid() * (1 - masks.detach().sigmoid())
    torch.testing.assert_close(masks.grad, slope * (gaussians.opacities + gaussians.scales.sum(dim=1)))


def test_what_pictures_do_not_need_switches_itself_off(generator: torch.Generator) -> None:
    start = cloud(generator)
    targets = render(start, CAMERAS, "black").color.clamp(0, 1)
    # As many again where no camera looks.
    far = replace(start, means=start.means + torch.tensor([0.0, 500.0, 0.0]))
    fit = SceneFit(
        Gaussians.cat([start, far]), 1.0, StillStrategy(), SceneSchedule(steps=120, degree=1, seed=5),
        shapings=(Mask(5e-4, 120),),
    )  # fmt: skip
    for number in range(120):
        step(fit, number, targets)
    left = fit.gaussians().detach().means[:, 1].abs() < 100
    assert left.all() and len(left) > 30
    assert set(fit.gaussians().detach().tensors()) == set(start.tensors())


def test_the_last_one_stays(generator: torch.Generator) -> None:
    fit = fit_of(cloud(generator, 3), (Mask(1.0, 1),))
    fit.optimizer.parameters[NAME].data[:] = torch.tensor([-8.0, -7.0, -9.0])
    step(fit, 0, torch.zeros(6, 3, CAMERAS.height, CAMERAS.width))
    assert fit.optimizer.count == 1


def test_rounded_numbers_are_multiples_of_steps(generator: torch.Generator) -> None:
    gaussians = random_sh(generator, 2, (), 50).to(torch.float64)
    drawn = Rounding(2.0).of(gaussians, {}, 1)
    step = 2 * 0.15 * gaussians.scales.log().median().exp()
    assert gaussians.sh is not None and drawn.sh is not None
    for name, values, unit in [
        ("means", drawn.means, step),
        ("scales", drawn.scales.log2(), 2 / 12),
        ("opacities", drawn.opacities[drawn.opacities < 1], 2 / 80),
        ("colors", drawn.sh[:, 0], 0.04),
        ("harmonics", drawn.sh[:, 1:], 0.06),
    ]:
        shares = values / unit
        torch.testing.assert_close(shares, shares.round(), rtol=0, atol=1e-6, msg=lambda text, name=name: name + text)
    assert (drawn.means - gaussians.means).abs().max() <= step / 2 + 1e-12
    assert (drawn.sh[:, 0] - gaussians.sh[:, 0]).abs().max() <= 0.02 + 1e-12


def test_rounding_has_the_derivatives_of_what_it_rounds(generator: torch.Generator) -> None:
    means = cloud(generator, 6).means.double().requires_grad_()
    gaussians = replace(cloud(generator, 6).to(torch.float64), means=means)
    wanted = torch.rand(6, 3, generator=generator, dtype=torch.float64)
    (Rounding(1.0).of(gaussians, {}, 1).means * wanted).sum().backward()
    torch.testing.assert_close(means.grad, wanted)


def test_rounding_begins_at_its_step(generator: torch.Generator) -> None:
    gaussians, rounding = cloud(generator), Rounding(1.0, begin=7)
    assert rounding.of(gaussians, {}, 6) is gaussians
    assert not torch.equal(rounding.of(gaussians, {}, 7).means, gaussians.means)


def test_a_fit_with_all_of_them_goes_on_to_the_same_bits(generator: torch.Generator) -> None:
    start = cloud(generator)
    targets = render(start, CAMERAS, "black").color.clamp(0, 1)

    def fit() -> SceneFit:
        return fit_of(start, (Rounding(1.0, begin=3), Mask(1e-2, 30)), (GridSmoothness(Weight(1.0), every=5),))

    whole, first, second = fit(), fit(), fit()
    expected = [step(whole, number, targets) for number in range(12)]
    for number in range(7):
        step(first, number, targets)
    state = {name: each.clone() for name, each in first.state_dict().items()}
    assert f"parameters.{NAME}" in state and "terms.grid.order" in state
    second.load_state_dict(state)
    assert [step(second, number, targets) for number in range(7, 12)] == expected[7:]


def test_neighbours_become_alike(generator: torch.Generator) -> None:
    start = cloud(generator)
    targets = render(start, CAMERAS, "black").color.clamp(0, 1)
    unlike = []
    for weight in (0.0, 50.0):
        fit = fit_of(start, terms=(GridSmoothness(Weight(weight), every=100),))
        for number in range(20):
            step(fit, number, targets)
        unlike.append(float(fit.gaussians().detach().opacities[:40].std()))
    assert unlike[1] < 0.8 * unlike[0]


def test_the_blur_is_the_mean_of_what_is_there() -> None:
    values = torch.arange(7.0)[:, None] ** 2
    found = _blurred(values, 3)
    places = torch.stack([torch.arange(7) // 3, torch.arange(7) % 3], dim=1).float()
    offsets = places[:, None] - places[None]
    weights = torch.exp(-offsets.square().sum(dim=2) / 18) * (offsets.abs().amax(dim=2) <= 2)
    torch.testing.assert_close(found, weights @ values / weights.sum(dim=1, keepdim=True))


def test_numbers_that_are_sorted_have_one_spread(generator: torch.Generator) -> None:
    found = sorted_by(replace(cloud(generator), means=1e3 * cloud(generator).means))
    assert found.shape == (40, 9)
    for part in found.split(3, dim=1):
        assert float((part - part.mean(dim=0)).square().mean()) == pytest.approx(1, rel=1e-3)


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(InputError, match="weight: expected"):
        Mask(0.0, 30)
    with pytest.raises(InputError, match="coarseness: expected"):
        Rounding(-1.0)
    with pytest.raises(InputError, match="every: expected"):
        GridSmoothness(Weight(1.0), 0)
    with pytest.raises(FormatError, match="state: expected the tensor order, got other"):
        GridSmoothness(Weight(1.0), 1).load_state_dict({"other": torch.zeros(1)})
