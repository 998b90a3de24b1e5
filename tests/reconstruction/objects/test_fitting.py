"""First splats, views and the fit of one object."""

import numpy as np
import pytest
import torch

from reconstruction.objects.shapes import box
from splatlearn.core.errors import Malformed
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.reconstruction.objects.fitting import fit_object
from splatlearn.reconstruction.objects.recipe import ObjectFitOptions
from splatlearn.reconstruction.objects.sources import Surfaced
from splatlearn.reconstruction.objects.starting import facing, splats_on, spread
from splatlearn.reconstruction.objects.views import Surface, cameras_around, in_unit_ball, look_around
from splatlearn.rendering.view_colors import seen_by
from splatlearn.surfaces.mesh import Mesh


def test_the_frame_of_objects() -> None:
    mesh = in_unit_ball(box(), "z")
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1)
    assert np.allclose(mesh.vertices.min(axis=0), -mesh.vertices.max(axis=0))
    lid = mesh.vertices[(mesh.colors == (0, 0, 255)).all(axis=1)]
    assert (lid[:, 1] < 0).all(), "up is −y"
    x, y, z = np.ptp(mesh.vertices, axis=0)
    assert (y / x, z / x) == pytest.approx((2, 0.5))
    # A rotation, no mirror image: the way round of faces stays.
    for up in ("y", "z"):
        first, second, third = np.moveaxis(in_unit_ball(box(), up).corners, 1, 0)
        assert np.einsum("mi,mi->", first, np.cross(second, third)) > 0
    with pytest.raises(Malformed, match="a shape with an extent"):
        in_unit_ball(Mesh(np.ones((3, 3)), np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8)), "z")


def test_every_view_shows_the_whole_object_on_its_sides() -> None:
    views = look_around(in_unit_ball(box(), "z"), cameras_around(9, 32), is_shaded=False)
    alpha = views.pictures[:, 3]
    assert (alpha.amax(dim=(1, 2)) == 255).all()
    assert not (alpha[:, 0].any() or alpha[:, -1].any() or alpha[:, :, 0].any() or alpha[:, :, -1].any())
    colors = {tuple(each) for each in views.pictures.permute(0, 2, 3, 1)[alpha == 255][:, :3].tolist()}
    assert {(200, 60, 60), (0, 0, 255)} <= colors
    assert (np.einsum("pc,pc->p", views.surface.normals, views.surface.points) > 0).all(), "a convex body's are outward"
    high, low = views.cameras.centers[0], views.cameras.centers[-1]
    assert high[1] < -2 and low[1] > 2


def test_places_are_even_by_area_and_all_different() -> None:
    generator = np.random.default_rng(0)
    # The left half of a plane has twenty times as many places as the right one.
    dense, sparse = generator.uniform(0, 1, (40_000, 3)), generator.uniform(0, 1, (2_000, 3)) + [1, 0, 0]
    points = np.concatenate([dense, sparse]) * [1, 1, 0]
    chosen = spread(points, 1_000)
    assert len(set(chosen.tolist())) == 1_000
    assert 450 < (chosen < 40_000).sum() < 550
    everything = spread(points[:300], 300)
    assert sorted(everything.tolist()) == list(range(300))


def test_splats_face_as_the_surface_does() -> None:
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=1)
    normals[:3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 1e-6, -1.0]])
    turned = quaternions_to_matrices(facing(normals))[..., 2]
    torch.testing.assert_close(turned, normals, atol=1e-4, rtol=0)
    points = np.random.default_rng(1).uniform(-1, 1, (50, 3))
    splats = splats_on(Surface(points, normals.double().numpy(), np.full((50, 3), 0.25)), 1_000)
    assert splats.count == 50 and splats.degree == 0
    assert (splats.scales[:, 2] < splats.scales[:, 0]).all()
    seen = seen_by(splats, cameras_around(1, 8)[0]).fixed_colors()
    torch.testing.assert_close(seen, torch.full_like(seen, 0.25))


SMALL = ObjectFitOptions(splats=300, steps=25, size=32, views=8)


def test_a_fit_improves_pictures_that_it_does_not_see_and_is_repeatable() -> None:
    shape = Surfaced(box(), "mesh", "z")
    fitted = fit_object(shape, SMALL, seed=3)
    assert fitted.gaussians.count == 300 and fitted.gaussians.degree == 0
    assert fitted.psnr > fitted.start_psnr + 1 and fitted.inside < fitted.psnr
    again = fit_object(shape, SMALL, seed=3)
    for name, values in fitted.gaussians.tensors().items():
        assert torch.equal(values, again.gaussians.tensors()[name])
    other = fit_object(shape, SMALL, seed=4)
    assert not torch.equal(other.gaussians.means, fitted.gaussians.means)
    # Near the surface of the box: no splat has wandered off.
    outside = fitted.gaussians.means.abs() - torch.from_numpy(in_unit_ball(box(), "z").vertices.max(axis=0)).float()
    assert outside.amax() < 0.1
