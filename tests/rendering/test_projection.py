import math
from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import Splats, project
from splatlearn.rendering.formula import EPS2D


def one_gaussian(mean, scales=(0.1, 0.2, 0.3), quaternion=(1.0, 0.0, 0.0, 0.0)) -> Gaussians:
    return Gaussians(
        means=torch.tensor([[mean]], dtype=torch.float64),
        scales=torch.tensor([[scales]], dtype=torch.float64),
        quaternions=torch.tensor([[quaternion]], dtype=torch.float64),
        colors=torch.full((1, 1, 3), 0.5, dtype=torch.float64),
        opacities=torch.full((1, 1), 0.5, dtype=torch.float64),
    )


def covariance(conic: torch.Tensor) -> torch.Tensor:
    a, b, c = conic.double().tolist()
    return torch.tensor([[a, b], [b, c]], dtype=torch.float64).inverse()


class TestConventions:
    def test_minus_one_to_one_spans_the_image(self) -> None:
        camera = Camera.gmae(40, 60)
        for x, y, column, row in [(-1, -1, 0, 0), (1, -1, 60, 0), (0, 0, 30, 20), (-1, 1, 0, 40)]:
            center = project(one_gaussian((x, y, 0.5)), camera).means2d[0, 0]
            assert center.tolist() == pytest.approx([column, row])

    def test_x_right_y_down(self) -> None:
        camera = Camera.pinhole(40, 60)
        assert project(one_gaussian((0.5, 0.0, 2.0)), camera).means2d[0, 0].tolist() == pytest.approx([37.5, 20])
        assert project(one_gaussian((0.0, 0.5, 2.0)), camera).means2d[0, 0].tolist() == pytest.approx([30, 27.5])

    def test_depth_grows_away_from_the_camera(self) -> None:
        camera = Camera.gmae(8, 8)
        assert project(one_gaussian((0.0, 0.0, -0.9)), camera).depths.item() == pytest.approx(7.1)
        assert project(one_gaussian((0.0, 0.0, 0.9)), camera).depths.item() == pytest.approx(8.9)

    def test_quaternion_w_first_turns_right_handed_about_z(self) -> None:
        half = math.pi / 4
        matrix = quaternions_to_matrices(torch.tensor([math.cos(half), 0, 0, math.sin(half)], dtype=torch.float64))
        turned = matrix @ torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        assert turned.tolist() == pytest.approx([0.0, 1.0, 0.0])

    def test_center_of_the_first_pixel_is_a_half(self) -> None:
        from splatlearn.rendering import composite

        splats = project(one_gaussian((-1 + 1 / 8, -1 + 1 / 8, 0.0), scales=(0.01,) * 3), Camera.gmae(8, 8))
        color, _ = composite(splats, 8, 8)
        assert color[0, 0].flatten().argmax().item() == 0
        assert splats.means2d[0, 0].tolist() == pytest.approx([0.5, 0.5])


def test_extent_of_the_gmae_camera_is_perspective() -> None:
    # σ_px = (W/2)·σ/z on the axis, plus the blur: the paper's numbers at 224 px and σ = 1.
    splats = project(one_gaussian((0.0, 0.0, 0.0), scales=(1.0, 1.0, 1.0)), Camera.gmae(224, 224))
    expected = (112 / 8) ** 2 + 0.3
    torch.testing.assert_close(
        covariance(splats.conics[0, 0]), torch.eye(2, dtype=torch.float64) * expected, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("model", ["pinhole", "gmae", "orthographic"])
def test_covariance_is_the_pushforward_by_the_jacobian(model: str, generator: torch.Generator) -> None:
    """The Jacobian comes from autograd through the camera's point projection, so the algebra is checked on its own."""
    height, width = 30, 50
    camera = {"gmae": Camera.gmae, "orthographic": Camera.orthographic}.get(model, Camera.pinhole)(height, width)
    gaussians = random_gaussians(generator, (1,), 6, dtype=torch.float64)
    if model == "pinhole":
        gaussians = replace(gaussians, means=gaussians.means * 0.5 + torch.tensor([0.0, 0.0, 3.0]))
    splats = project(gaussians, camera)
    view = camera.viewmats.double()
    order = (gaussians.means @ view[:3, :3].T + view[:3, 3])[0, :, 2].argsort()

    def pixel(point: torch.Tensor) -> torch.Tensor:
        x, y, z = point
        if model == "orthographic":
            return torch.stack([camera.fx * x, camera.fy * y])
        return torch.stack([camera.fx * x / z, camera.fy * y / z])

    for place, index in enumerate(order.tolist()):
        point = gaussians.means[0, index] @ view[:3, :3].T + view[:3, 3]
        jacobian = torch.autograd.functional.jacobian(pixel, point)
        assert isinstance(jacobian, torch.Tensor)
        rotation = quaternions_to_matrices(gaussians.quaternions[0, index])
        sigma = rotation @ torch.diag(gaussians.scales[0, index] ** 2) @ rotation.T
        expected = jacobian @ view[:3, :3] @ sigma @ view[:3, :3].T @ jacobian.T + 0.3 * torch.eye(
            2, dtype=torch.float64
        )
        torch.testing.assert_close(covariance(splats.conics[0, place]), expected, rtol=1e-9, atol=1e-9)


def test_thin_tilted_gaussians_keep_their_conic_in_float32() -> None:
    exact = one_gaussian((0.1, -0.2, 0.0), scales=(30.0, 1e-4, 1e-4), quaternion=(0.9, 0.0, 0.0, 0.43))
    camera = Camera.gmae(224, 224)
    expected = project(exact, camera).conics
    got = project(exact.to(torch.float32), camera).conics.double()
    assert ((got - expected).norm() / expected.norm()).item() < 1e-5


def test_sorted_near_to_far_and_stable(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (3,), 20)
    gaussians.means[:, 5:9, 2] = 0.25
    splats = project(gaussians, Camera.gmae(16, 16))
    assert (splats.depths.diff(dim=1) >= 0).all()
    tied = splats.opacities[splats.depths == 8.25].reshape(3, 4)
    torch.testing.assert_close(tied, gaussians.opacities[:, 5:9])


def test_gaussians_behind_a_pinhole_are_not_drawn() -> None:
    splats = project(one_gaussian((0.0, 0.0, -2.0)), Camera.pinhole(8, 8))
    assert splats.opacities.item() == 0.0
    assert torch.isfinite(splats.conics).all() and torch.isfinite(splats.means2d).all()


def test_one_camera_for_each_image(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 5)
    views = torch.eye(4).repeat(2, 1, 1)
    views[0, 2, 3], views[1, 2, 3] = 4.0, 6.0
    both = project(gaussians, Camera.pinhole(8, 8, viewmats=views))
    for index in range(2):
        alone = project(gaussians[index : index + 1], Camera.pinhole(8, 8, viewmats=views[index]))
        torch.testing.assert_close(both.means2d[index], alone.means2d[0])
    with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[2, 4, 4\] for gaussians"):
        project(gaussians, Camera.pinhole(8, 8, viewmats=torch.eye(4).repeat(3, 1, 1)))


def test_half_precision_is_computed_in_float32(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator).to(torch.bfloat16)
    splats = project(gaussians, Camera.gmae(16, 16))
    assert splats.conics.dtype == torch.float32
    torch.testing.assert_close(splats.conics, project(gaussians.to(torch.float32), Camera.gmae(16, 16)).conics)


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("model", ["pinhole", "gmae"])
@pytest.mark.parametrize("slope", [(0.5, -1.2), (1.29, -1.29), (1.31, 0.0), (-7.0, 0.4), (0.3, 50.0), (-2.0, -2.0)])
def test_pixel_jacobian_is_limited_at_1_3_half_images(model: str, backend: str, slope: tuple[float, float]) -> None:
    """`slope`: in half-images off the axis. Farther out the linearisation would smear a splat over the whole image."""
    camera = Camera.pinhole(24, 40, 70.0) if model == "pinhole" else Camera.gmae(24, 40)
    shift, half = float(camera.viewmats[2, 3]), (40 / 2 / camera.fx, 24 / 2 / camera.fy)
    depth = 2.0 + shift
    x, y = (depth * off * side for off, side in zip(slope, half, strict=True))
    gaussian = one_gaussian((x, y, 2.0), quaternion=(0.8, 0.1, -0.5, 0.3))
    splats = project(gaussian if backend == "torch" else gaussian.to(torch.float32), camera, backend)

    tangent_x, tangent_y = (max(-1.3, min(1.3, off)) * side for off, side in zip(slope, half, strict=True))
    jacobian = torch.tensor(
        [[camera.fx, 0.0, -camera.fx * tangent_x], [0.0, camera.fy, -camera.fy * tangent_y]], dtype=torch.float64
    )
    axes = quaternions_to_matrices(gaussian.quaternions[0, 0]) * gaussian.scales[0, 0]
    rows = jacobian @ axes / depth
    expected = rows @ rows.T + EPS2D * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(covariance(splats.conics[0, 0]), expected, rtol=1e-4, atol=1e-6)
    center = torch.tensor([camera.fx * x + camera.cx, camera.fy * y + camera.cy], dtype=torch.float64)
    if model == "pinhole":
        center = torch.tensor([camera.fx * x / depth + camera.cx, camera.fy * y / depth + camera.cy]).double()
    torch.testing.assert_close(splats.means2d[0, 0].double(), center, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("camera", [Camera.gmae, Camera.orthographic, Camera.pinhole])
def test_a_camera_three_times_as_large_makes_splats_three_times_as_large(generator: torch.Generator, camera) -> None:
    """Centres by 3, covariances by 9 but for the blur, which is a pixel's and does not grow."""
    gaussians = random_gaussians(generator, dtype=torch.float64)
    small, large = project(gaussians, camera(20, 24)), project(gaussians, camera(60, 72))
    torch.testing.assert_close(large.means2d, 3 * small.means2d)
    torch.testing.assert_close(
        covariances(large) - EPS2D * torch.eye(2), 9 * (covariances(small) - EPS2D * torch.eye(2))
    )
    torch.testing.assert_close(large.depths, small.depths)


def covariances(splats: Splats) -> torch.Tensor:
    a, b, c = splats.conics.unbind(-1)
    return torch.linalg.inv(torch.stack([torch.stack([a, b], -1), torch.stack([b, c], -1)], -2))
