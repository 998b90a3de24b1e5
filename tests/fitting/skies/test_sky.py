"""A sky: directions, interpolation across the seam, gradients, its own Gaussians, and a fit that learns it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fitting.test_scene_fit import STRATEGIES, scene
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import SceneRates, psnr
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.skies.sky import Sky
from splatlearn.rendering import render


def smooth_sky(rows: int = 32) -> Sky:
    """Colours that are a function of direction: x, y and z, from −1 to 1, as shades."""
    down, across = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(2 * rows) + 0.5, indexing="ij")
    latitude, longitude = (down / rows - 0.5) * math.pi, (across / (2 * rows) - 0.5) * 2 * math.pi
    x, z = latitude.cos() * longitude.sin(), latitude.cos() * longitude.cos()
    return Sky(0.5 + 0.5 * torch.stack([x, latitude.sin(), z]))


def turned(angle: float, tilt: float, size: int = 40) -> Camera:
    """A camera at (1, 2, 3) that looks in any direction."""
    eye = (1.0, 2.0, 3.0)
    ahead = (math.sin(angle) * math.cos(tilt), math.sin(tilt), math.cos(angle) * math.cos(tilt))
    return Camera.look_at(eye, [e + a for e, a in zip(eye, ahead, strict=True)], size, size, 70.0)


def test_colours_are_those_of_the_pixels_directions(generator: torch.Generator) -> None:
    sky = smooth_sky(64)
    directions = torch.randn(500, 3, generator=generator)
    wanted = 0.5 + 0.5 * torch.nn.functional.normalize(directions, dim=-1)
    assert float((sky.at(directions) - wanted).abs().max().detach()) < 0.02
    for angle in (0.3, 3.1, -3.1):  # the last two look at the seam
        camera = turned(angle, 0.4)
        seen = sky.seen_by(camera).detach()
        for row, column in ((0, 0), (20, 20), (39, 7)):
            local = torch.tensor([(column + 0.5 - camera.cx) / camera.fx, (row + 0.5 - camera.cy) / camera.fy, 1.0])
            ray = camera.viewmats[:3, :3].T @ local
            torch.testing.assert_close(seen[:, row, column], 0.5 + 0.5 * ray / ray.norm(), atol=0.02, rtol=0)
    both = Camera(
        40, 40, 30.0, 30.0, 20.0, 20.0, viewmats=torch.stack([turned(0.3, 0.1).viewmats, turned(2.0, 0.2).viewmats])
    )
    torch.testing.assert_close(sky.seen_by(both)[1], sky.seen_by(both[1]))


def test_the_seam_is_no_edge(generator: torch.Generator) -> None:
    sky = Sky(torch.rand(3, 16, 32, generator=generator))
    angles = math.pi + torch.tensor([-1e-4, 1e-4])
    directions = torch.stack([angles.sin(), torch.full((2,), 0.2), angles.cos()], dim=-1)
    first, second = sky.at(directions).detach()
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)


def test_gradients_reach_sky_and_alpha(generator: torch.Generator) -> None:
    gaussians, camera = scene(generator), Camera.look_at((0.0, 0.0, -4.0), (0.0, 0.0, 0.0), 24, 24, 50.0)
    sky, weights = smooth_sky(8), torch.rand(3, 24, 24, generator=generator)
    opacities = gaussians.opacities.clone().requires_grad_()

    def value(opacities: Tensor) -> Tensor:
        shown = render(replace(gaussians, opacities=opacities), camera, "black", depth=False)
        return (weights * sky.over(shown, camera)).sum()

    value(opacities).backward()
    texels = sky.optimizer.parameters["texels"]
    assert texels.grad is not None and opacities.grad is not None
    for index in (5, 60, 100):
        direction = torch.zeros_like(texels)
        direction[index] = 1.0
        with torch.no_grad():
            texels += 0.1 * direction
            upper = value(opacities)
            texels -= 0.2 * direction
            slope = float(upper - value(opacities)) / 0.2
            texels += 0.1 * direction
        assert texels.grad is not None
        assert float(texels.grad[index].sum()) == pytest.approx(slope, abs=2e-3)
    with torch.no_grad():
        ends = [value(opacities + sign * 1e-2 * torch.eye(len(opacities))[3]) for sign in (1, -1)]
    assert float(opacities.grad[3]) == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=0.02, abs=1e-2)


def outdoors(count: int = 10) -> tuple[Gaussians, Sky, Camera, Tensor]:
    """An object before a sky, and pictures of both from all sides."""
    truth, sky = scene(torch.Generator().manual_seed(1)), smooth_sky()
    views = []
    for number in range(count):
        angle, height = 2 * math.pi * number / count, 0.6 * math.sin(number)
        views.append(Camera.look_at((3 * math.sin(angle), height, 3 * math.cos(angle)), (0.0, 0.0, 0.0), 32, 32, 60.0))
    poses, focal = torch.stack([each.viewmats for each in views]), float(views[0].fx)
    cameras = Camera(32, 32, focal, focal, 16.0, 16.0, viewmats=poses)
    shown = render(truth, cameras, "black", depth=False)
    return truth, sky, cameras, sky.over(shown, cameras).clamp(0, 1).detach()


def fit_of(truth: Gaussians, sky: Sky | None) -> SceneFit:
    schedule = SceneSchedule(steps=120, rates=SceneRates(position=1e-3, position_last=1e-4), degree=0)
    return SceneFit(truth, 1.0, STRATEGIES["mcmc"](), schedule, sky=sky)


def test_a_fit_learns_the_sky_and_goes_on_with_the_same_bits() -> None:
    truth, sky, cameras, pictures = outdoors()
    fits = {"sky": fit_of(truth, Sky(rows=32)), "none": fit_of(truth, None)}
    scores: dict[str, float] = {}
    for name, fit in fits.items():
        for number in range(80):
            which = torch.tensor([number % 9])
            fit.step(cameras[which], pictures[which])
        shown = render(fit.gaussians().detach(), cameras[9:], "black", depth=False)
        color = shown.color if fit.sky is None else fit.sky.over(shown, cameras[9:]).detach()
        scores[name] = float(psnr(color, pictures[9:]).mean())
    assert scores["sky"] > scores["none"] + 5.0, scores
    learned = fits["sky"].sky
    assert learned is not None
    again = fit_of(truth, Sky(rows=32))
    again.load_state_dict({name: each.clone() for name, each in fits["sky"].state_dict().items()})
    for fit in (fits["sky"], again):
        fit.step(cameras[:2], pictures[:2])
    ours, theirs = fits["sky"].state_dict(), again.state_dict()
    assert "sky.texels" in ours and ours.keys() == theirs.keys()
    assert all(torch.equal(each, theirs[name]) for name, each in ours.items())
    # Directions that no photograph shows are as they were.
    assert float((learned.at(torch.tensor([[0.0, -1.0, 0.01]])) - 0.5).abs().max().detach()) == 0
    assert sky.rows == learned.rows


def test_far_gaussians_show_the_sky() -> None:
    sky = smooth_sky()
    middle = np.array([1.0, 2.0, 3.0])
    far = sky.gaussians(middle, 500.0, 8192, 1)
    assert far.degree == 1 and torch.allclose(
        (far.means - torch.from_numpy(middle)).norm(dim=-1).float(), torch.tensor(500.0)
    )
    for angle in (0.0, 2.0, 3.14):
        camera = turned(angle, 0.5)
        baked, wanted = render(far, camera, "black", depth=False).color, sky.seen_by(camera).detach()
        assert float(psnr(baked[None], wanted[None]).mean()) > 35


def test_what_is_no_sky_is_refused() -> None:
    with pytest.raises(InputError, match=r"picture: expected the shape \[3, R, 2 R\], got \[3, 4, 4\]"):
        Sky(torch.zeros(3, 4, 4))
    with pytest.raises(FormatError, match=r"state: expected texels of shape \[128, 3\], got none"):
        Sky(rows=8).load_state_dict({})
