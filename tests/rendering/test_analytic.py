"""The filter "analytic" beside the normal distribution, quadrature of pixels, and finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import formula, project, render


def one(sigmas: tuple[float, float], angle: float, opacity: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)):
    """One Gaussian whose picture by `flat` has these deviations in pixels, turned by `angle`, off the middle."""
    return Gaussians(
        torch.tensor([[*shift, 1.0]], dtype=torch.float64),
        torch.tensor([[*sigmas, 1e-9]], dtype=torch.float64),
        torch.tensor([[math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)]], dtype=torch.float64),
        torch.tensor([opacity], dtype=torch.float64),
        colors=torch.ones(1, 3, dtype=torch.float64),
    )


def flat(side: int) -> Camera:
    """A camera with one pixel for a unit of the world, which looks at the origin."""
    return Camera(side, side, 1.0, 1.0, side / 2, side / 2, "orthographic", torch.eye(4, dtype=torch.float64))


def squares(gaussian: Gaussians, side: int, samples: int = 24) -> Tensor:
    """The integral of the Gaussian over each pixel, which is a square of the picture, by the midpoint rule."""
    steps = (torch.arange(side * samples, dtype=torch.float64) + 0.5) / samples - side / 2
    y, x = torch.meshgrid(steps - gaussian.means[0, 1], steps - gaussian.means[0, 0], indexing="ij")
    angle = 2 * math.atan2(float(gaussian.quaternions[0, 3]), float(gaussian.quaternions[0, 0]))
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    first, second = gaussian.scales[0, 0], gaussian.scales[0, 1]
    values = torch.exp(-0.5 * ((u / first) ** 2 + (v / second) ** 2))
    return gaussian.opacities[0] * F.avg_pool2d(values[None], samples)[0]


def test_the_logistic_function_is_near_the_normal_distribution() -> None:
    x = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    linear, cubic = formula.LOGISTIC
    error = (torch.sigmoid(linear * x + cubic * x**3) - torch.special.ndtr(x)).abs().max()
    assert float(error) < 4e-4


@pytest.mark.parametrize("sigmas", [(0.3, 0.3), (1.0, 0.4), (3.0, 1.0)])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_alpha_is_within_2e_3_of_a_product_of_errors_functions(sigmas: tuple[float, float], angle: float) -> None:
    gaussian = one(sigmas, angle, shift=(0.2, -0.3))
    # The window of a round picture is not turned.
    angle = angle if sigmas[0] != sigmas[1] else 0.0
    alpha = render(gaussian, flat(15), filter="analytic", backend="torch").alpha
    centers = torch.arange(15, dtype=torch.float64) - 7
    y, x = torch.meshgrid(centers + 0.3, centers - 0.2, indexing="ij")
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    expected = torch.ones_like(u)
    for place, sigma in ((u, sigmas[0]), (v, sigmas[1])):
        share = torch.special.ndtr((place + 0.5) / sigma) - torch.special.ndtr((place - 0.5) / sigma)
        expected *= math.sqrt(2 * math.pi) * sigma * share
    expected = torch.where(expected >= 1 / 255, expected.clamp_max(formula.ALPHA_MAX), 0.0)
    edge = (expected - 1 / 255).abs() < 2e-3
    most = 2e-3 * max(1.0, 2 * math.pi * sigmas[0] * sigmas[1])
    assert float(((alpha - expected).abs() * ~edge).max()) < min(most, 6e-3)


@pytest.mark.parametrize(
    ("sigmas", "angle", "most"),
    [
        # The window is turned with the splat: at 45 degrees it is farthest from the pixel, for thin ones most.
        ((2.0, 2.0), 0.0, 0.006), ((1.0, 0.5), 0.0, 0.004), ((0.3, 0.3), 0.6, 0.003),
        ((2.0, 1.0), math.pi / 4, 0.01), ((3.0, 0.3), math.pi / 8, 0.04), ((3.0, 0.3), math.pi / 4, 0.08),
    ],
)  # fmt: skip
def test_alpha_is_near_the_integral_over_the_pixel(sigmas: tuple[float, float], angle: float, most: float) -> None:
    gaussian = one(sigmas, angle, 0.9, (0.15, 0.4))
    found = render(gaussian, flat(17), filter="analytic", backend="torch").alpha
    expected = squares(gaussian, 17)
    analytic = (found - expected).abs()
    assert float(analytic.max()) < most + 1 / 255
    for other in ("point", "mip"):
        sampled = render(gaussian, flat(17), filter=other, backend="torch").alpha
        assert float(analytic.square().mean()) < float((sampled - expected).square().mean()), other


@pytest.mark.parametrize("sigmas", [(0.2, 0.2), (0.6, 0.3), (4.0, 0.1), (3.0, 3.0)])
def test_a_splat_shows_as_much_at_every_size(sigmas: tuple[float, float]) -> None:
    """The sum over pixels is 2πσ₁σ₂, but for what is cut off below 1/255."""
    gaussian = one(sigmas, 0.7, 0.9)
    total = float(render(gaussian, flat(41), filter="analytic", backend="torch").alpha.sum())
    assert total == pytest.approx(0.9 * 2 * math.pi * sigmas[0] * sigmas[1], rel=0.05)


@pytest.mark.parametrize("sigmas", [(0.05, 0.05), (1.0, 1.0), (2.0, 0.05), (2.0, 2.0 * 1.004), (0.0, 0.0), (5.0, 0.0)])
@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi / 4, 1.0])
def test_round_and_flat_pictures_along_any_axis_have_finite_gradients(
    sigmas: tuple[float, float], angle: float
) -> None:
    """Along the axes of pixels, published code divides by zero and paints an opaque box."""
    leaves = one(sigmas, angle, 0.9).map(lambda each: each.requires_grad_())
    alpha = render(leaves, flat(9), filter="analytic", backend="torch", check=False).alpha
    assert float(alpha.detach().max()) <= min(1.0, 1.01 * 2 * math.pi * max(sigmas[0], 0.01) * max(sigmas[1], 0.01))
    alpha.square().sum().backward()
    for name, each in leaves.tensors().items():
        assert name == "colors" or (each.grad is not None and bool(each.grad.isfinite().all())), name


def test_gradients_are_those_of_finite_differences(generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (), 3, dtype=torch.float64), Camera.gmae(6, 5)
    target = torch.rand(3, 6, 5, generator=generator, dtype=torch.float64)
    names = [*gaussians.tensors()]

    def loss(*tensors: Tensor) -> Tensor:
        made = replace(gaussians, **dict(zip(names, tensors, strict=True)))
        shown = render(made, camera, "white", "torch", depth=False, check=False, filter="analytic")
        return (shown.color - target).square().sum()

    leaves = [each.clone().requires_grad_() for each in gaussians.tensors().values()]
    assert torch.autograd.gradcheck(loss, leaves, atol=1e-6)


def test_from_farther_away_it_is_nearest_to_what_was_near(generator: torch.Generator) -> None:
    """Means over the areas of pixels of a large picture, beside small pictures: point, mip, analytic."""
    count = 150
    means = torch.randn(count, 3, generator=generator)
    scales = 0.02 + 0.03 * torch.rand(count, 3, generator=generator)
    made = Gaussians(
        means, scales, torch.randn(count, 4, generator=generator), torch.full((count,), 0.9),
        colors=torch.rand(count, 3, generator=generator),
    )  # fmt: skip
    near, far = (Camera.look_at((0.0, 0.0, -6.0), (0.0, 0.0, 0.0), side, side, 45.0) for side in (256, 32))
    truth = F.avg_pool2d(render(made, near, "black", depth=False).color, 8)
    errors = [
        float((render(made, far, "black", "torch", depth=False, filter=each).color - truth).square().mean())
        for each in ("point", "mip", "analytic")
    ]
    assert errors[0] > 2 * errors[1] > 3 * errors[2]


def test_panoramas_and_exponentials_have_no_such_filter(generator: torch.Generator) -> None:
    plain = random_gaussians(generator, ())
    with pytest.raises(InputError, match="camera: expected one without a panorama's model for 'gaussian-analytic'"):
        render(plain, Camera.panorama(8, 16), filter="analytic")
    with pytest.raises(InputError, match="filter: expected one of point, mip for the primitive 'ges', got 'analytic'"):
        render(plain, flat(8), filter="analytic", primitive="ges")
    splats = project(plain.reshape_batch(1), flat(8), filter="analytic")
    assert splats.primitive == "gaussian-analytic" and splats.shapes is not None
