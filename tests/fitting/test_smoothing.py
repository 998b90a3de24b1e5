"""The 3-D filter: widths by hand, what it keeps, and a fit with it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fitting.test_scene_parameters import orbit
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.smoothing import VARIANCE, Smoothing, smoothed
from splatlearn.fitting.strategies.mcmc import MCMCOptions, MCMCStrategy
from splatlearn.rendering import render


def ahead(distance: float, focal: float, size: int = 40) -> Camera:
    """A pinhole camera that looks along +z at the origin from `distance`."""
    view = torch.eye(4)
    view[2, 3] = distance
    return Camera(size, size, focal, focal, size / 2, size / 2, viewmats=view)


def test_the_camera_with_the_smallest_pixels_decides() -> None:
    cameras = [ahead(2.0, 50.0), ahead(8.0, 400.0), ahead(30.0, 100.0)]
    widths = Smoothing(cameras).widths(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
    expected = math.sqrt(VARIANCE) * torch.tensor([min(2 / 50, 8 / 400, 30 / 100), min(6 / 50, 12 / 400, 34 / 100)])
    torch.testing.assert_close(widths, expected)


def test_only_cameras_that_see_a_gaussian_count_and_the_unseen_get_the_largest_width() -> None:
    camera = ahead(4.0, 40.0)
    # Half the picture's width is 2 at this distance; a camera counts up to 15 % of a picture beside it.
    means = torch.tensor([[0.0, 0.0, 0.0], [2.5, 0.0, 0.0], [2.7, 0.0, 0.0], [0.0, 0.0, -9.0], [0.0, 0.0, 6.0]])
    widths = Smoothing([camera]).widths(means) / math.sqrt(VARIANCE)
    torch.testing.assert_close(widths, torch.tensor([0.1, 0.1, 0.25, 0.25, 0.25]))
    assert not Smoothing([camera]).widths(torch.tensor([[0.0, 0.0, -9.0]])).any(), "nothing is known of what is unseen"


def test_widths_are_those_of_the_camera_model() -> None:
    means = torch.tensor([[0.0, 0.0, 5.0]])
    eye = torch.eye(4)
    parallel = Camera(40, 40, 20.0, 20.0, 20.0, 20.0, "orthographic", eye)
    around = Camera.panorama(50, 100, eye)
    for camera, expected in ((parallel, 1 / 20), (around, 5 * 2 * math.pi / 100)):
        widths = Smoothing([camera]).widths(means)
        torch.testing.assert_close(widths, torch.tensor([math.sqrt(VARIANCE) * expected]))
    behind = Smoothing([around]).widths(-means)
    torch.testing.assert_close(behind, torch.tensor([math.sqrt(VARIANCE) * 5 * 2 * math.pi / 100]))


def test_variances_add_and_mass_stays(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (), 50).to(torch.float64)
    widths = 0.2 * torch.rand(50, generator=generator, dtype=torch.float64)
    wide = smoothed(gaussians, widths)
    eye = torch.eye(3, dtype=torch.float64)
    covariances = (each.scales.square().diag_embed() for each in (gaussians, wide))
    first, second = covariances
    torch.testing.assert_close(second, first + widths.square()[:, None, None] * eye)
    for each in (gaussians, wide):
        mass = each.opacities * each.scales.prod(-1)
        torch.testing.assert_close(mass, gaussians.opacities * gaussians.scales.prod(-1))
    assert torch.equal(wide.means, gaussians.means) and torch.equal(wide.quaternions, gaussians.quaternions)


def test_gradients_are_finite_differences(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (), 4).to(torch.float64)
    widths = 0.3 * torch.rand(4, generator=generator, dtype=torch.float64)

    def wide(scales: torch.Tensor, opacities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made = smoothed(replace(gaussians, scales=scales, opacities=opacities), widths)
        return made.scales, made.opacities

    leaves = gaussians.scales.requires_grad_(), gaussians.opacities.requires_grad_()
    assert torch.autograd.gradcheck(wide, leaves)


def test_no_camera_and_batches_are_refused() -> None:
    with pytest.raises(InputError, match="cameras: expected one or more of one view each, got none"):
        Smoothing([])
    with pytest.raises(InputError, match=r"cameras: expected one or more of one view each, got batches \[\[2\]\]"):
        Smoothing([replace(ahead(1.0, 1.0), viewmats=torch.eye(4).expand(2, 4, 4))])


class TestFit:
    """A fit with the filter: what it renders, what it stores, and that it goes on to the same bits."""

    CAMERAS = orbit(6)
    SCHEDULE = SceneSchedule(steps=30, degree=1, degree_every=6, seed=5)

    def fit(self, start: Gaussians) -> SceneFit:
        strategy = MCMCStrategy(MCMCOptions(cap=90, start=0, every=4, stop=30))
        cameras = [self.CAMERAS[index] for index in range(6)]
        return SceneFit(start, 1.0, strategy, self.SCHEDULE, smoothing=Smoothing(cameras))

    def start(self, generator: torch.Generator) -> Gaussians:
        made = random_sh(generator, 0, (), 40)
        return replace(made, means=0.8 * made.means, scales=0.1 * made.scales)

    def step(self, fit: SceneFit, number: int, targets: torch.Tensor) -> float:
        view = number % 6
        return fit.step(self.CAMERAS[view : view + 1], targets[view : view + 1]).loss

    def test_gaussians_are_no_narrower_than_the_cameras_can_tell(self, generator: torch.Generator) -> None:
        start = self.start(generator)
        targets = render(start, self.CAMERAS, "black", filter="mip").color.clamp(0, 1)
        fit = self.fit(replace(start, means=start.means + 0.05))
        losses = [self.step(fit, number, targets) for number in range(24)]
        assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
        assert fit.optimizer.count > 40, "Gaussians were added, and widths have followed"
        made = fit.gaussians().detach()
        assert fit.smoothing is not None
        widths = fit.smoothing.widths(made.means)
        assert bool((made.scales.amin(-1) >= 0.99 * widths).all())
        raw = fit.optimizer.parameters["log_scales"].detach().exp()
        torch.testing.assert_close(made.scales, (raw.square() + widths[:, None].square()).sqrt(), rtol=0.02, atol=0)

    @pytest.mark.parametrize("stop", [5, 8])
    def test_it_goes_on_to_the_same_bits(self, stop: int, generator: torch.Generator) -> None:
        """After step 8 Gaussians were added, and widths are about to be found anew; after step 5 they are kept."""
        start = self.start(generator)
        targets = render(start, self.CAMERAS, "black").color.clamp(0, 1)
        whole = self.fit(start)
        expected = [self.step(whole, number, targets) for number in range(14)]
        first = self.fit(start)
        for number in range(stop):
            self.step(first, number, targets)
        state = {name: each.clone() for name, each in first.state_dict().items()}
        assert ("smoothing.widths" in state) == (stop == 5)
        second = self.fit(start)
        second.load_state_dict(state)
        assert [self.step(second, number, targets) for number in range(stop, 14)] == expected[stop:]
        for name, each in whole.gaussians().tensors().items():
            assert torch.equal(each, second.gaussians().tensors()[name]), name
