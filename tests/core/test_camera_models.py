"""Every registered camera model: its Jacobian, its inverse, its directions of view and its facts."""

from __future__ import annotations

import math

import pytest
import torch

from splatlearn.core.cameras import (
    Camera,
    CameraModel,
    Lens,
    camera_model,
    camera_models,
    register_camera_model,
)
from splatlearn.core.errors import InputError

LENS = Lens(31.0, 23.0, 19.5, 14.5, 40, 30)


def camera_of(name: str, views: torch.Tensor) -> Camera:
    """Cameras with intrinsics that are all different; those of a panorama follow from its size."""
    if camera_model(name).is_spherical:
        return Camera.panorama(30, 40, views)
    own = torch.tensor([31.0, 45.0], dtype=torch.float64)
    return Camera(40, 30, own, own + 1, 0.4 * own, 0.3 * own, name, views)


@pytest.fixture
def points(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates [K] before a camera, float64, inside of its picture."""
    x, y, z = torch.rand(3, 9, generator=generator, dtype=torch.float64)
    return x - 0.5, y - 0.5, z + 1.5


@pytest.mark.parametrize("name", camera_models())
def test_the_jacobian_is_the_derivative_of_the_projection(name: str, points: tuple[torch.Tensor, ...]) -> None:
    model = camera_model(name)
    for place in range(9):
        point = torch.stack([each[place] for each in points])

        def pixel(point: torch.Tensor) -> torch.Tensor:
            return torch.stack(model.project_extents(point[:1], point[1:2], point[2:], LENS)).squeeze(-1)

        expected = torch.autograd.functional.jacobian(pixel, point)
        found = model.jacobian(point[:1], point[1:2], point[2:], LENS)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", camera_models())
def test_unproject_inverts_project(name: str, points: tuple[torch.Tensor, ...]) -> None:
    model, (x, y, z) = camera_model(name), points
    u, v = model.project(x, y, z, LENS)
    found = model.unproject(u, v, model.depth(x, y, z), LENS)
    torch.testing.assert_close(torch.stack(found), torch.stack([x, y, z]))


@pytest.mark.parametrize("name", camera_models())
def test_the_facts_of_a_model_are_those_of_its_formulas(name: str, points: tuple[torch.Tensor, ...]) -> None:
    model, (x, y, z) = camera_model(name), points
    near, far = model.project(x, y, z, LENS), model.project(x, y, z + 1, LENS)
    assert model.depth_moves_centers is not torch.equal(near[0], far[0])
    shapes = [model.jacobian(x, y, depth, LENS) for depth in (z, z + 1)]
    assert model.depth_shrinks_extents is not torch.equal(*shapes)


@pytest.mark.parametrize("name", camera_models())
def test_a_camera_shows_what_it_unprojects_at_its_pixel(name: str, generator: torch.Generator) -> None:
    view = Camera.look_at((1.0, -2.0, -3.0), (0.0, 0.0, 0.5), 30, 40).viewmats.double()
    views = torch.stack([view, torch.eye(4, dtype=torch.float64)])
    camera = camera_of(name, views)
    pixels = 30 * torch.rand(2, 6, 2, generator=generator, dtype=torch.float64)
    depths = torch.rand(2, 6, generator=generator, dtype=torch.float64) + 1
    means = camera.unproject(pixels, depths)
    x, y, z = (means @ views[:, :3, :3].mT + views[:, None, :3, 3]).unbind(-1)
    by_model = torch.stack(camera.projection.project(x, y, z, camera.lens(z)), -1), camera.projection.depth(x, y, z)
    for found in (camera.project(means), by_model):
        torch.testing.assert_close(found[0], pixels, rtol=0, atol=1e-4)
        # The matrix was rounded to float32, so that it is orthonormal to seven digits.
        torch.testing.assert_close(found[1], depths, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", camera_models())
def test_points_behind_a_camera_have_finite_pixels_and_their_depths(name: str) -> None:
    camera = camera_of(name, torch.eye(4).repeat(2, 1, 1))
    pixels, depths = camera.project(torch.tensor([[0.3, -0.2, -2.0], [0.1, 0.1, 0.0], [0.0, 0.0, 0.0]]))
    assert bool(pixels.isfinite().all())
    wanted = (
        [math.hypot(0.3, 0.2, 2.0), math.hypot(0.1, 0.1), 0.0]
        if camera_model(name).measures_distance
        else [-2.0, 0.0, 0.0]
    )
    torch.testing.assert_close(depths, torch.tensor([wanted, wanted]))


@pytest.mark.parametrize("name", camera_models())
def test_directions_of_view(name: str) -> None:
    view = Camera.look_at((1.0, -2.0, -3.0), (0.0, 0.0, 0.5), 30, 40).viewmats
    camera = camera_of(name, torch.stack([view, torch.eye(4)]))
    means = torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.0, 4.0]])
    found = camera.directions(means)
    axis = torch.nn.functional.normalize(torch.tensor([-1.0, 2.0, 3.5]), dim=-1)
    expected = torch.stack([means - torch.tensor([1.0, -2.0, -3.0]), means])
    if name == "orthographic":
        expected = torch.stack([axis, torch.tensor([0.0, 0.0, 1.0])])[:, None].expand(2, 2, 3)
    torch.testing.assert_close(found, expected)


def test_a_model_is_one_class_and_one_registration(twice: type[CameraModel]) -> None:
    assert "twice" in camera_models()
    camera = Camera(40, 30, 31.0, 31.0, 20.0, 15.0, "twice")
    pixels, depths = torch.tensor([[82.0, 77.0]]), torch.tensor([3.0])
    torch.testing.assert_close(camera.unproject(pixels, depths), torch.tensor([[1.0, 1.0, 3.0]]))
    with pytest.raises(InputError, match="expected a camera model that is not registered yet, got 'twice'"):
        register_camera_model(twice)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match="model: expected one of pinhole, .*panorama.*, got 'round'"):
        camera_model("round")
