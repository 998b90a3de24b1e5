"""Photographs that are out of focus: their lenses are found, and the scene is sharp."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fitting.cameras.test_poses import DISTANCE, batch_of, ids
from reconstruction.small_captures import cameras_around, known_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.fitting import SceneRates, psnr
from splatlearn.fitting.cameras.defocus import WIDTH, OwnWidths, Widen, WidenOptions, widened
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.rendering import render


def through_aperture(scene: Gaussians, camera: Camera, aperture: float, focus: float, points: int = 64) -> Tensor:
    """What a lens shows: the mean of pinholes that are spread over its opening, all of which agree at one depth.

    `aperture`: the standard deviation of the opening, world units. A point at depth z is smeared by this times
    |1/z - 1/focus| times the focal length, whatever the model of defocus under test does.
    """
    share = (torch.arange(points) + 0.5) / points
    radii = (-2 * torch.log(1 - share)).sqrt()
    radii = radii * (2 / radii.square().mean()).sqrt()
    turns = torch.arange(points) * math.pi * (3 - math.sqrt(5))
    spread = aperture * torch.stack([radii * turns.cos(), radii * turns.sin()], dim=1)
    moved = torch.eye(4).repeat(points, 1, 1)
    moved[:, :2, 3] = -spread
    cx, cy = (getattr(camera, name) + camera.fx * spread[:, axis] / focus for axis, name in enumerate(("cx", "cy")))
    lens = replace(camera, viewmats=moved @ camera.viewmats, cx=cx, cy=cy)
    return render(scene, lens, "black", depth=False).color.mean(0)


def test_covariances_are_widened_exactly_and_light_is_kept(generator: torch.Generator) -> None:
    scene = known_gaussians(count=6).to(torch.float64)
    widths = 0.3 * torch.rand(2, 6, generator=generator, dtype=torch.float64)
    directions = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    found = widened(scene, widths, directions)

    def covariances(gaussians: Gaussians) -> Tensor:
        half = quaternions_to_matrices(gaussians.quaternions) * gaussians.scales.unsqueeze(-2)
        return half @ half.mT

    wanted = covariances(scene) + widths[..., None, None].square() * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(covariances(found), wanted)
    # The area of a Gaussian as it is seen along a direction: the determinant of its covariance across it.
    basis = torch.linalg.qr(directions.unsqueeze(-1), mode="complete").Q[..., 1:]

    def light(gaussians: Gaussians) -> Tensor:
        across = basis.mT @ covariances(gaussians) @ basis
        return gaussians.opacities * torch.linalg.det(across).sqrt()

    torch.testing.assert_close(light(found), light(scene).expand(2, 6))


def test_what_is_in_focus_stays_sharp_and_gradients_begin_above_zero() -> None:
    cameras = batch_of(cameras_around(3, 32, 24))
    model = Widen(torch.full((3,), DISTANCE))
    still = Gaussians(
        torch.zeros(1, 3), torch.full((1, 3), 0.1), torch.eye(4)[:1], torch.ones(1), colors=torch.ones(1, 3)
    )
    torch.testing.assert_close(model.gaussians(ids(1), cameras[1:2], still).scales[0], still.scales, rtol=1e-5, atol=0)
    scene = known_gaussians(count=30)
    color = render(model.gaussians(ids(1), cameras[1:2], scene), cameras[1:2], "black", depth=False).color
    (color - 0.3).square().mean().backward()
    for name in ("log_blur", "log_focus"):
        gradient = model.rows[name].grad
        assert gradient is not None and abs(float(gradient[1])) > 1e-6 and not gradient[[0, 2]].any()


def test_a_circle_of_confusion_is_that_of_a_lens() -> None:
    """One small blob, in front of and behind the focus, is as wide as through an opening."""
    camera, aperture, focus = Camera.pinhole(48, 48, 40.0), 0.08, 3.0
    model = Widen(torch.tensor([focus]))
    with torch.no_grad():
        model.rows["log_blur"].fill_(math.log(aperture / focus))
    assert [float(each) for each in model.found()] == pytest.approx([aperture / focus, focus])
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    for depth in (1.5, 2.2, 5.0):
        blob = Gaussians(
            torch.tensor([[0.0, 0.0, depth]]), torch.full((1, 3), 0.02 * depth), torch.eye(4)[:1], torch.tensor([0.95]),
            colors=torch.ones(1, 3),
        )  # fmt: skip
        one = replace(camera, viewmats=camera.viewmats[None])
        shown = render(model.gaussians(ids(0), one, blob), one, "black", depth=False).color[0, 0].detach()
        known = through_aperture(blob, camera, aperture, focus, 256)[0]
        spreads = [
            float((each * ((rows - 24).square() + (columns - 24).square())).sum() / each.sum() / 2)
            for each in (shown, known)
        ]
        # Where a wide blob is fainter than one step of a display, it is not drawn.
        assert spreads[0] == pytest.approx(spreads[1], rel=0.08), depth
        assert float(shown.sum()) == pytest.approx(float(known.sum()), rel=0.05)


@pytest.mark.parametrize("filter", ["point", "mip"])
def test_a_blob_thinner_than_a_pixel_keeps_its_light_with_each_filter(filter: str) -> None:
    camera = Camera.pinhole(48, 48, 40.0)
    one, depth = replace(camera, viewmats=camera.viewmats[None]), 4.0
    model = Widen(torch.tensor([3.0]), WidenOptions(filter=filter))
    with torch.no_grad():
        # A standard deviation of 0.8 pixels at this depth: wider ones have tails below what is drawn.
        model.rows["log_blur"].fill_(math.log(0.8 / 40.0 / (3.0 * (1 / 3.0 - 1 / depth))))
    blob = Gaussians(
        torch.tensor([[0.0, 0.0, depth]]), torch.full((1, 3), 0.01 * depth), torch.eye(4)[:1], torch.tensor([0.9]),
        colors=torch.ones(1, 3),
    )  # fmt: skip
    light = [
        float(render(each, one, "black", depth=False, filter=filter).color[0, 0].detach().sum())
        for each in (blob, model.gaussians(ids(0), one, blob))
    ]
    assert light[1] == pytest.approx(light[0], rel=0.03)


@pytest.mark.parametrize(
    ("count", "steps", "size", "better", "off"),
    [(5, 80, (32, 24), 2.0, 0.5), pytest.param(8, 500, (64, 48), 6.0, 0.2, marks=pytest.mark.large)],
)
def test_known_lenses_are_found_and_the_scene_is_sharp(
    count: int, steps: int, size: tuple[int, int], better: float, off: float, generator: torch.Generator
) -> None:
    """Photographs through openings of several sizes, focused at several depths."""
    truth, cameras = known_gaussians(count=200), batch_of(cameras_around(count, *size))
    truth = replace(truth, scales=0.4 * truth.scales)
    focus, aperture = (
        2 + 2 * torch.rand(count, generator=generator),
        0.08 + 0.07 * torch.rand(count, generator=generator),
    )
    blurred = [through_aperture(truth, cameras[i], float(aperture[i]), float(focus[i])) for i in range(count)]
    sharp = render(truth, cameras, "black", depth=False).color
    pictures, wanted = ((255 * each.clamp(0, 1)).round().byte() for each in (torch.stack(blurred), sharp))
    start = replace(
        truth,
        means=truth.means + 0.03 * torch.randn(200, 3, generator=generator),
        opacities=0.5 * truth.opacities + 0.2,
    )
    quality, model = [], Widen(torch.full((count,), DISTANCE), WidenOptions(rate=0.1))
    for models in ((), (model,)):
        schedule = SceneSchedule(steps=steps, degree=0, rates=SceneRates(position=8e-4, position_last=8e-6))
        fit = SceneFit(start, DISTANCE, DefaultStrategy(DefaultOptions(stop=0)), schedule, view_models=models)
        for _ in range(steps):
            fit.step(cameras, pictures, views=torch.arange(count))
        color = render(fit.gaussians().detach(), cameras, "black", depth=False).color
        quality.append(float(psnr(color, wanted).mean()))
    assert quality[1] > quality[0] + better
    angle, depth = model.found()
    z = torch.tensor([2.2, 3.0, 3.8])

    def variances(opening: Tensor, sharp_at: Tensor) -> Tensor:
        return (opening[:, None] * (1 / z - 1 / sharp_at[:, None])).square().mean(1)

    ratio = variances(angle * depth, depth) / variances(aperture, focus)
    assert float((ratio - 1).abs().mean()) < off


def test_widths_of_gaussians_add_their_squares_times_those_of_photographs() -> None:
    cameras, model = batch_of(cameras_around(3, 32, 24)), OwnWidths(torch.tensor([2.0, 3.0, 5.0]))
    scene = known_gaussians(count=12)
    widths = torch.linspace(0.01, 0.2, 12).requires_grad_()
    with torch.no_grad():
        model.rows["log_factor"].copy_(torch.tensor([0.5, 1.0, 2.0]).log())
    seen = replace(ids(2), own={WIDTH: widths.log()})
    found = model.gaussians(seen, cameras[2:3], scene)
    torch.testing.assert_close(
        found.scales[0].square() - scene.scales.square(), (2 * widths)[:, None].square().expand(12, 3)
    )
    render(found, cameras[2:3], "black", depth=False).color.square().mean().backward()
    assert widths.grad is not None and bool((widths.grad != 0).any())
    rows = model.rows["log_factor"].grad
    assert rows is not None and float(rows[2]) != 0 and not rows[:2].any()
    # At the first depth in the middle, the first width is the angle of the options.
    assert math.exp(model.own[WIDTH].first) == pytest.approx(3.0 * WidenOptions().blur)


def test_widths_of_gaussians_follow_edits_and_make_the_scene_sharp(generator: torch.Generator) -> None:
    """Photographs of several blurs, fitted with Gaussians that are cloned and split on the way."""
    count = 6
    truth, cameras = known_gaussians(count=150), batch_of(cameras_around(count, 32, 24))
    truth = replace(truth, scales=0.4 * truth.scales)
    factors = torch.linspace(0.0, 1.0, count)
    widths = (0.14 * factors)[:, None].expand(count, 150)
    seen_through = widened(truth, widths, cameras.directions(truth.means))
    blurred, sharp = (render(each, cameras, "black", depth=False).color.detach() for each in (seen_through, truth))
    start = replace(truth, means=truth.means + 0.03 * torch.randn(150, 3, generator=generator))
    quality, model = [], OwnWidths(torch.full((count,), DISTANCE), WidenOptions(rate=0.1))
    for models in ((), (model,)):
        schedule = SceneSchedule(steps=120, degree=0, rates=SceneRates(position=8e-4, position_last=8e-6))
        strategy = DefaultStrategy(DefaultOptions(cap=200, start=5, every=10, stop=40, grow_gradient=1e-5))
        fit = SceneFit(start, DISTANCE, strategy, schedule, view_models=models)
        for _ in range(120):
            fit.step(cameras, blurred, views=torch.arange(count))
        color = render(fit.gaussians().detach(), cameras, "black", depth=False).color
        quality.append(float(psnr(color, sharp).mean()))
    own = fit.optimizer.parameters[WIDTH]
    assert len(own) == fit.optimizer.count > 150
    assert quality[1] > quality[0] + 2.0
    # Of two photographs in which most is wide, one is half as blurred as the other.
    found = model.found()
    assert float(found[2:].diff().min()) > 0 and float(found[0]) < 0.5 * float(found[-1])
    again = SceneFit(
        start,
        DISTANCE,
        DefaultStrategy(strategy.options),
        schedule,
        view_models=(OwnWidths(torch.full((count,), DISTANCE)),),
    )
    again.load_state_dict(fit.state_dict())
    assert torch.equal(again.optimizer.parameters[WIDTH], own)


@pytest.mark.parametrize("filter", ["point", "mip"])
def test_widths_of_gaussians_keep_the_light_of_thin_ones_with_each_filter(filter: str) -> None:
    camera = Camera.pinhole(48, 48, 40.0)
    one, depth = replace(camera, viewmats=camera.viewmats[None]), 4.0
    model = OwnWidths(torch.tensor([3.0]), WidenOptions(filter=filter))
    blob = Gaussians(
        torch.tensor([[0.0, 0.0, depth]]), torch.full((1, 3), 0.01 * depth), torch.eye(4)[:1], torch.tensor([0.9]),
        colors=torch.ones(1, 3),
    )  # fmt: skip
    seen = replace(ids(0), own={WIDTH: torch.tensor([math.log(0.8 * depth / float(camera.fx))])})
    light = [
        float(render(each, one, "black", depth=False, filter=filter).color[0, 0].detach().sum())
        for each in (blob, model.gaussians(seen, one, blob))
    ]
    assert light[1] == pytest.approx(light[0], rel=0.03)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(InputError, match=r"depths: expected numbers \[N\] above 0"):
        Widen(torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match="blur"):
        WidenOptions(blur=0.0)
    with pytest.raises(InputError, match="filter: expected one of point, mip, analytic, got 'box'"):
        WidenOptions(filter="box")
