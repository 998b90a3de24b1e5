"""The fisheye: its lens against those of captures, its widest angle, its inverse, and its picture of half a sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from splatlearn.captures.lenses import Lens as CaptureLens
from splatlearn.core.cameras import Camera, Lens, camera_model
from splatlearn.core.cameras.fisheye import widest_angle
from splatlearn.core.errors import InputError

BENT = (0.08, -0.03, 0.006, -0.0008)
FOLDED = (-0.1, 0.0, 0.0, 0.0)
LENSES = [(), BENT, (0.3, 0.1, 0.0, 0.0), FOLDED]


def directions(generator: torch.Generator, widest: float, count: int = 40) -> tuple[torch.Tensor, ...]:
    """Points of several distances in the directions that a lens shows, x, y and z."""
    angle = widest * torch.rand(count, generator=generator, dtype=torch.float64)
    turn = 2 * math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    distance = 0.5 + 3 * torch.rand(count, generator=generator, dtype=torch.float64)
    return (
        distance * angle.sin() * turn.cos(),
        distance * angle.sin() * turn.sin(),
        distance * angle.cos(),
    )


@pytest.mark.parametrize("distortion", [each for each in LENSES if each])
def test_points_are_shown_where_the_lens_of_a_capture_has_them(
    distortion: tuple[float, ...], generator: torch.Generator
) -> None:
    x, y, z = directions(generator, min(0.95 * widest_angle(distortion), math.radians(85)))
    numbers = (200.0, 210.0, 320.0, 240.0)
    expected = CaptureLens("OPENCV_FISHEYE", 640, 480, (*numbers, *distortion)).project(
        torch.stack([x, y, z], -1).numpy()
    )
    found = camera_model("fisheye").project(x, y, z, Lens(*numbers, 640, 480, distortion))
    np.testing.assert_allclose(torch.stack(found, -1).numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("distortion", LENSES)
def test_jacobians_are_derivatives_everywhere(distortion: tuple[float, ...], generator: torch.Generator) -> None:
    """Also on the axis, and where series begin."""
    model, lens = camera_model("fisheye"), Lens(31.0, 23.0, 19.5, 14.5, 40, 30, distortion)
    x, y, z = directions(generator, 0.97 * widest_angle(distortion))
    edge = torch.tensor([0.0, 1e-9, 0.0999, 0.1001], dtype=torch.float64)
    x, y, z = torch.cat([x, edge]), torch.cat([y, 0.3 * edge]), torch.cat([z, torch.ones(4, dtype=torch.float64)])
    found = model.jacobian(x, y, z, lens)
    for place in range(len(x)):
        point = torch.stack([x[place], y[place], z[place]])

        def pixel(point: torch.Tensor) -> torch.Tensor:
            return torch.stack(model.project(point[:1], point[1:2], point[2:], lens)).squeeze(-1)

        expected = torch.autograd.functional.jacobian(pixel, point)
        torch.testing.assert_close(found[place], expected, rtol=1e-9, atol=1e-9)

    def jacobians(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return model.jacobian(x, y, z, lens)

    some = tuple(each[:6].clone().requires_grad_() for each in (x, y, z))
    assert torch.autograd.gradcheck(jacobians, some)
    ahead = tuple(torch.tensor([each], dtype=torch.float64, requires_grad=True) for each in (1e-4, -2e-4, 1.3))
    assert torch.autograd.gradcheck(jacobians, ahead)


@pytest.mark.parametrize("distortion", LENSES)
def test_unproject_inverts_project_up_to_the_widest_angle(
    distortion: tuple[float, ...], generator: torch.Generator
) -> None:
    model, lens = camera_model("fisheye"), Lens(31.0, 23.0, 19.5, 14.5, 40, 30, distortion)
    ahead = torch.tensor([[0.0], [0.0], [2.0]], dtype=torch.float64)
    points = torch.cat([torch.stack(directions(generator, 0.99 * widest_angle(distortion))), ahead], dim=1)
    x, y, z = points
    u, v = (each.requires_grad_() for each in model.project(x, y, z, lens))
    found = model.unproject(u, v, model.depth(x, y, z), lens)
    torch.testing.assert_close(torch.stack(found), points, rtol=0, atol=1e-8)
    assert all(bool(each.isfinite().all()) for each in torch.autograd.grad(torch.stack(found).sum(), (u, v)))


def test_the_widest_angle_is_where_radii_stop_rising() -> None:
    assert widest_angle(()) == pytest.approx(math.radians(179))
    # d'(θ) = 1 − 0.3 θ²
    assert widest_angle(FOLDED) == pytest.approx(math.sqrt(1 / 0.3))
    model, lens = camera_model("fisheye"), Lens(31.0, 23.0, 19.5, 14.5, 40, 30, FOLDED)
    for angle, is_shown in ((0.99 * math.sqrt(1 / 0.3), True), (1.01 * math.sqrt(1 / 0.3), False)):
        x, z = torch.tensor([math.sin(angle)]), torch.tensor([math.cos(angle)])
        assert bool(model.shows(x, torch.zeros(1), z, lens)) is is_shown
    with pytest.raises(InputError, match="distortion: expected coefficients of a lens that shows a degree or more"):
        widest_angle((-1e5, 0.0, 0.0, 0.0))


def test_a_field_of_view_is_the_width_of_the_picture() -> None:
    camera = Camera.fisheye(300, 400, 200.0, BENT)
    half = math.radians(100.0)
    pixels, depths = camera.project(torch.tensor([[2 * math.sin(half), 0.0, 2 * math.cos(half)]]))
    torch.testing.assert_close(pixels, torch.tensor([[400.0, 150.0]]))
    torch.testing.assert_close(depths, torch.tensor([2.0]))
    assert camera.resized(150, 200).distortion == BENT
    with pytest.raises(
        InputError, match="field_of_view: expected degrees above 0, at most 209.2 of this lens, got 210"
    ):
        Camera.fisheye(30, 40, 210.0, FOLDED)


def test_coefficients_are_those_of_the_model() -> None:
    with pytest.raises(InputError, match="distortion: expected 4 coefficients, or none, of the model fisheye, got 2"):
        Camera.fisheye(30, 40, 90.0, (0.1, 0.2))
    with pytest.raises(InputError, match="distortion: expected no coefficients of the model pinhole, got 1"):
        Camera(40, 30, 30.0, 30.0, 20.0, 15.0, distortion=(0.1,))
