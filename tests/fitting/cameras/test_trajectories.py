"""Trajectories of exposures: their ends and smoothness, the pictures that they leave, and the motion that is found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from fitting.cameras.test_poses import DISTANCE, batch_of
from reconstruction.small_captures import cameras_around, known_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import SceneRates, psnr
from splatlearn.fitting.cameras.light import from_light, to_light
from splatlearn.fitting.cameras.shake import Shake, ShakeOptions
from splatlearn.fitting.cameras.trajectories import KNOTS, Kind, Trajectory, expose, instants
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.rendering import render

KINDS: tuple[Kind, ...] = get_args(Kind)


def knots(generator: torch.Generator, count: int, size: float = 0.4) -> tuple[Tensor, Tensor]:
    rotation, translation = size * torch.randn(2, count, 3, generator=generator, dtype=torch.float64)
    return rotation, translation


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_linear_is_the_geodesic_and_a_straight_line(generator: torch.Generator) -> None:
    rotation, translation = knots(generator, 2)
    made = Trajectory(rotation, translation).motions(times(0, 0.3, 1))
    slerp = Slerp([0, 1], Rotation.from_rotvec(rotation.numpy()))
    torch.testing.assert_close(made[:, :3, :3], torch.from_numpy(slerp([0, 0.3, 1]).as_matrix()))
    torch.testing.assert_close(made[1, :3, 3], 0.7 * translation[0] + 0.3 * translation[1])
    between = Trajectory.between(made[0], made[2]).motions(times(0.3))
    torch.testing.assert_close(between[0], made[1])


def test_splines_shift_as_scipys_and_join_with_two_derivatives(generator: torch.Generator) -> None:
    rotation, translation = knots(generator, 5)
    first, second = (Trajectory(rotation[part], translation[part], "spline") for part in (slice(0, 4), slice(1, 5)))
    spline = BSpline(range(-3, 6), translation.numpy(), 3)
    u = times(0.0, 0.4, 0.9)
    torch.testing.assert_close(first.motions(u)[:, :3, 3], torch.from_numpy(spline(u.numpy())))

    def derivatives(trajectory: Trajectory, at: float) -> Tensor:
        """Each entry of the motion, and its first and second derivative by time."""
        time = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        found = []
        for entry in trajectory.motions(time[None])[0, :3].flatten():
            (first,) = torch.autograd.grad(entry, time, create_graph=True)
            (second,) = torch.autograd.grad(first, time, retain_graph=True)
            found.append(torch.stack([entry, first, second]))
        return torch.stack(found).detach()

    torch.testing.assert_close(derivatives(first, 1.0), derivatives(second, 0.0), rtol=1e-9, atol=1e-9)


def test_beziers_begin_and_end_in_their_outer_knots(generator: torch.Generator) -> None:
    for count in (2, 4, 9):
        rotation, translation = knots(generator, count)
        made = Trajectory(rotation, translation, "bezier").motions(times(0, 1))
        ends = Rotation.from_rotvec(rotation[[0, -1]].numpy()).as_matrix()
        torch.testing.assert_close(made[:, :3, :3], torch.from_numpy(ends))
        torch.testing.assert_close(made[:, :3, 3], translation[[0, -1]])


@pytest.mark.parametrize("kind", KINDS)
def test_equal_knots_stay_where_they_are_and_motions_are_rigid(kind: Kind, generator: torch.Generator) -> None:
    rotation, translation = knots(generator, KNOTS[kind])
    same = Trajectory(rotation[:1].repeat(KNOTS[kind], 1), translation[:1].repeat(KNOTS[kind], 1), kind).poses(4)
    torch.testing.assert_close(same, same[:1].expand(4, 4, 4))
    made = Trajectory(rotation, translation, kind).poses(7)
    turns = made[:, :3, :3]
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(7, 3, 3))
    leaf = rotation.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: Trajectory(each, translation, kind).poses(3), (leaf,))


def test_instants_are_the_middles_of_equal_spans() -> None:
    assert instants(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert instants(3, "endpoints").tolist() == [0, 0.5, 1]
    assert instants(1).tolist() == instants(1, "endpoints").tolist() == [0.5]


def test_light_is_srgbs_curve_and_back(generator: torch.Generator) -> None:
    colors = torch.tensor([-0.2, 0.0, 0.02, 0.04045, 0.5, 1.0, 1.3], dtype=torch.float64, requires_grad=True)
    light = to_light(colors)
    known = light.detach()
    # IEC 61966-2-1 at 50 % and at its joint.
    assert float(known[4]) == pytest.approx(0.2140411, abs=1e-6)
    assert float(known[3]) == pytest.approx(0.0031308, abs=1e-6)
    torch.testing.assert_close(from_light(light), colors, rtol=1e-6, atol=1e-7)
    bright = colors.detach()[4:].requires_grad_()
    assert torch.autograd.gradcheck(lambda each: from_light(to_light(each).square()), (bright,))
    from_light(light).sum().backward()
    assert colors.grad is not None and bool(colors.grad.isfinite().all())


def test_one_instant_and_a_camera_at_rest_are_the_sharp_picture_to_the_bit(generator: torch.Generator) -> None:
    scene, camera = known_gaussians(count=40), cameras_around(3, 32, 24)[1]
    sharp = render(scene, camera, "black", depth=False).color
    rest = Trajectory(torch.zeros(2, 3), torch.zeros(2, 3))
    assert torch.equal(expose(scene, rest, camera, 1), sharp)
    # Of a motion about the middle, one instant sees the middle.
    rotation, translation = (each.float() for each in knots(generator, 2, 0.1))
    away = Trajectory(torch.stack([rotation[0], -rotation[0]]), torch.stack([translation[0], -translation[0]]))
    torch.testing.assert_close(expose(scene, away, camera, 1), sharp, rtol=0, atol=1e-5)
    torch.testing.assert_close(expose(scene, rest, camera, 6), sharp, rtol=0, atol=1e-5)
    assert not torch.allclose(expose(scene, away, camera, 6), sharp, atol=0.02)
    thin = replace(scene, scales=0.1 * scene.scales)
    wanted = render(thin, camera, "black", depth=False, filter="mip").color
    for n in (1, 6):
        torch.testing.assert_close(expose(thin, rest, camera, n, filter="mip"), wanted, rtol=0, atol=1e-5)
    assert not torch.allclose(wanted, render(thin, camera, "black", depth=False).color, atol=0.02)


def test_light_adds_up_and_display_colours_do_not() -> None:
    """Half of the time white and half black is 73.5 % of white on a display."""
    scene = Gaussians(
        torch.tensor([[0.0, 0.0, 2.0]]), torch.full((1, 3), 30.0), torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([0.99]), colors=torch.ones(1, 3),
    )  # fmt: skip
    camera = Camera.pinhole(8, 8)
    ends = Trajectory(torch.zeros(2, 3), torch.stack([torch.zeros(3), torch.tensor([0.0, 0.0, -4.0])]))
    mean = expose(scene, ends, camera, 2)
    assert float(mean[0, 4, 4]) == pytest.approx(float(from_light(to_light(torch.tensor(0.99)) / 2)), abs=5e-3)
    assert float(expose(scene, ends, camera, 2, linear_light=False)[0, 4, 4]) == pytest.approx(0.495, abs=5e-3)


def test_one_exposure_is_the_plain_fit_to_the_bit(generator: torch.Generator) -> None:
    scene, cameras = known_gaussians(count=40), batch_of(cameras_around(4, 24, 20))
    pictures = render(scene, cameras, "black", depth=False).color
    start = replace(scene, means=scene.means + 0.05 * torch.randn(40, 3, generator=generator))
    states = []
    for models in ((), (Shake(4, DISTANCE, ShakeOptions(exposures=1)),)):
        fit = SceneFit(start, DISTANCE, DefaultStrategy(DefaultOptions(stop=0)), view_models=models)
        for number in range(6):
            rows = torch.tensor([number % 4, (number + 1) % 4])
            fit.step(cameras[rows], pictures[rows], views=rows)
        states.append(fit.optimizer.parameters)
    assert all(torch.equal(each, states[1][name]) for name, each in states[0].items())


def shaken(size: tuple[int, int], count: int) -> tuple[Gaussians, Camera, Trajectory, Tensor, Tensor]:
    """A scene, cameras, their linear motions, the blurred photographs of 24 instants, and the sharp ones."""
    generator = torch.Generator().manual_seed(1)
    truth, cameras = known_gaussians(count=200), batch_of(cameras_around(count, *size))
    truth = replace(truth, scales=0.5 * truth.scales)
    turn, shift = (torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1) for _ in range(2))
    turn, shift = math.radians(1.5) * turn, 0.025 * DISTANCE * shift
    way = Trajectory(torch.stack([-turn, turn], 1), torch.stack([-shift, shift], 1))
    blurred = [
        expose(truth, Trajectory(way.rotation[view], way.translation[view]), cameras[view], 24) for view in range(count)
    ]
    sharp = render(truth, cameras, "black", depth=False).color
    pictures, wanted = ((255 * each.clamp(0, 1)).round().byte() for each in (torch.stack(blurred), sharp))
    return truth, cameras, way, pictures, wanted


def seen_ends(way: Trajectory) -> Tensor:
    """Where a point ahead of the camera lies at both ends, across the axis, [V, 2, 2]."""
    ends = way.motions(torch.tensor([0.0, 1.0]))
    return (ends[..., :3, 2] * DISTANCE + ends[..., :3, 3])[..., :2]


@pytest.mark.parametrize(
    ("kind", "count", "steps", "size", "better"),
    [
        ("linear", 4, 60, (32, 24), 3.0),
        pytest.param("linear", 8, 500, (64, 48), 10.0, marks=pytest.mark.large),
        pytest.param("bezier", 8, 500, (64, 48), 10.0, marks=pytest.mark.large),
    ],
)
def test_a_known_shake_is_found_and_the_scene_is_sharp(
    kind: Kind, count: int, steps: int, size: tuple[int, int], better: float, generator: torch.Generator
) -> None:
    """The ends are found up to the order in which they came; a fit to the blurred photographs stays blurred."""
    truth, cameras, way, blurred, sharp = shaken(size, count)
    start = replace(
        truth,
        means=truth.means + 0.03 * torch.randn(200, 3, generator=generator),
        opacities=0.5 * truth.opacities + 0.2,
    )
    quality, rows = [], torch.arange(count)
    model = Shake(count, DISTANCE, ShakeOptions(kind, 6, rotation=2e-3, translation=2e-3))
    for models in ((), (model,)):
        schedule = SceneSchedule(steps=steps, degree=0, rates=SceneRates(position=8e-4, position_last=8e-6))
        fit = SceneFit(start, DISTANCE, DefaultStrategy(DefaultOptions(stop=0)), schedule, view_models=models)
        for _ in range(steps):
            fit.step(cameras, blurred, views=rows)
        quality.append(float(psnr(render(fit.gaussians().detach(), cameras, "black", depth=False).color, sharp).mean()))
    assert quality[1] > quality[0] + better
    with torch.no_grad():
        found, known = seen_ends(model.trajectory(rows)), seen_ends(way)
    error = torch.minimum((found - known).norm(dim=-1).mean(1), (found.flip(1) - known).norm(dim=-1).mean(1))
    assert float((error / known.norm(dim=-1).mean(1)).mean()) < 0.3


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(InputError, match="rotation: expected 4 knots of a spline trajectory, got 2"):
        Trajectory(torch.zeros(2, 3), torch.zeros(2, 3), "spline")
    with pytest.raises(InputError, match="expected those of one camera, got a batch"):
        expose(known_gaussians(), Trajectory(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)), cameras_around(1)[0], 2)
    with pytest.raises(InputError, match="count: expected at least one photograph"):
        Shake(0)
    with pytest.raises(InputError, match="exposures"):
        ShakeOptions(exposures=0)
