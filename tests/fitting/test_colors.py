"""Colours re-fitted within bounds: the least error that a general solver finds, and what stays as it is."""

from dataclasses import replace

import pytest
import torch
from scipy.optimize import lsq_linear

from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import refit_colors
from splatlearn.rendering import render

BACKGROUND = (0.3, 0.9, 0.1)


def out_of_bounds(generator, batch=(2,), count=40, dtype=torch.float32, channels=3):
    """Overlapping Gaussians whose colours reach from −0.3 to 1.3."""
    gaussians = random_gaussians(generator, batch, count, channels, dtype)
    return replace(gaussians, colors=1.6 * gaussians.fixed_colors() - 0.3)


def errors(gaussians, images, camera, background=BACKGROUND):
    return (render(gaussians, camera, background).color - images).square().sum(dim=(-1, -2))


def least_errors(gaussians, images, camera, bounds):
    """By an active-set method over the dense blending weights, in float64."""
    exact = gaussians.to(torch.float64)
    each = replace(exact, colors=torch.eye(exact.count, dtype=torch.float64).expand(*exact.opacities.shape, -1))
    weights = render(each, camera, "black").color.flatten(2).mT
    behind = render(replace(exact, colors=torch.zeros_like(exact.colors)), camera, BACKGROUND).color
    wanted = (images - behind).flatten(2)

    def least(index, channel):
        problem = weights[index].numpy(), wanted[index, channel].numpy()
        return 2.0 * lsq_linear(*problem, bounds, method="bvls", tol=1e-12).cost

    return torch.tensor([[least(index, channel) for channel in range(3)] for index in range(len(images))])


@pytest.mark.parametrize(
    ("camera", "bounds"),
    [
        (Camera.gmae(18, 26), (0.0, 1.0)),
        (Camera.orthographic(18, 26), (0.2, 0.7)),
        (Camera.pinhole_window(18, 26, 4.0), (0.0, 1.0)),
    ],
)
def test_the_error_is_the_least_within_the_bounds(generator, camera, bounds):
    gaussians = out_of_bounds(generator)
    images = render(gaussians, camera, BACKGROUND).color
    fitted = refit_colors(gaussians, images, camera, BACKGROUND, bounds=bounds)
    assert bounds[0] <= float(fitted.fixed_colors().min()) and float(fitted.fixed_colors().max()) <= bounds[1]
    clamped = replace(gaussians, colors=gaussians.fixed_colors().clamp(*bounds))
    found, least = errors(fitted, images, camera).double(), least_errors(gaussians, images.double(), camera, bounds)
    torch.testing.assert_close(found, least, rtol=1e-3, atol=1e-6)
    assert bool((found < 0.97 * errors(clamped, images, camera)).any())


def test_any_image_not_only_a_rendering(generator):
    gaussians, camera = out_of_bounds(generator), Camera.gmae(18, 26)
    images = torch.rand(2, 3, 18, 26, generator=generator)
    fitted = refit_colors(
        replace(gaussians, colors=torch.zeros_like(gaussians.fixed_colors())), images, camera, BACKGROUND
    )
    least = least_errors(gaussians, images.double(), camera, (0.0, 1.0))
    torch.testing.assert_close(errors(fitted, images, camera).double(), least, rtol=1e-2, atol=1e-6)


def test_never_worse_than_clamped_and_nothing_else_changes(generator):
    gaussians, camera = out_of_bounds(generator), Camera.gmae(18, 26)
    images = torch.rand(2, 3, 18, 26, generator=generator)
    before = errors(replace(gaussians, colors=gaussians.fixed_colors().clamp(0, 1)), images, camera)
    for steps in (0, 1, 2, 5):
        fitted = refit_colors(gaussians, images, camera, BACKGROUND, steps=steps)
        after = errors(fitted, images, camera)
        assert bool((after <= before * (1 + 1e-6)).all())
        before = after
        for name in ("means", "scales", "quaternions", "opacities"):
            assert torch.equal(getattr(fitted, name), getattr(gaussians, name))


def test_colours_within_the_bounds_that_paint_the_image_stay(generator):
    gaussians, camera = random_gaussians(generator), Camera.gmae(18, 26)
    fitted = refit_colors(gaussians, render(gaussians, camera).color, camera)
    torch.testing.assert_close(fitted.colors, gaussians.colors, atol=1e-6, rtol=0)


def test_gaussians_that_no_pixel_shows_are_clamped(generator):
    gaussians, camera = out_of_bounds(generator, count=12), Camera.gmae(18, 26)
    gaussians.means[:, 3, 0] = 50.0
    gaussians.opacities[:, 7] = 0.0
    gaussians.means[:, 9, 2] = -20.0
    fitted = refit_colors(gaussians, torch.zeros(2, 3, 18, 26), camera)
    hidden = [3, 7, 9]
    assert torch.equal(fitted.fixed_colors()[:, hidden], gaussians.fixed_colors()[:, hidden].clamp(0, 1))


@pytest.mark.parametrize("batch", [(), (2, 1)])
def test_any_leading_batch_shape_and_channels(generator, batch):
    gaussians, camera = out_of_bounds(generator, batch, 12, torch.float64, 5), Camera.gmae(9, 11)
    background = torch.rand(*batch, 5, generator=generator, dtype=torch.float64)
    images = render(gaussians, camera, background).color
    fitted = refit_colors(gaussians, images, camera, background)
    assert (
        isinstance(fitted, Gaussians) and fitted.batch_shape == batch and fitted.fixed_colors().dtype == torch.float64
    )
    flat = refit_colors(
        gaussians.reshape_batch(-1),
        images.reshape(-1, *images.shape[-3:]),
        camera,
        background if not batch else background.reshape(-1, 5),
    )
    torch.testing.assert_close(fitted.fixed_colors().reshape(flat.fixed_colors().shape), flat.fixed_colors())


def test_without_bounds_the_colours_come_back(generator):
    gaussians, camera = out_of_bounds(generator, count=12, dtype=torch.float64), Camera.gmae(18, 26)
    images = render(gaussians, camera).color
    start = replace(gaussians, colors=torch.full_like(gaussians.fixed_colors(), 0.5))
    with torch.no_grad():
        fitted = refit_colors(start, images, camera, bounds=(-float("inf"), float("inf")), steps=100)
    assert float(errors(fitted, images, camera, "white").max()) < 1e-8


@pytest.mark.usefixtures("no_shape_checks")
def test_wrong_arguments_are_named(generator):
    gaussians, camera = out_of_bounds(generator), Camera.gmae(18, 26)
    images = torch.zeros(2, 3, 18, 26)
    with pytest.raises(ValueError, match=r"images: expected shape \[2, 3, 18, 26\], got \[2, 3, 26, 18\]"):
        refit_colors(gaussians, images.mT, camera)
    with pytest.raises(ValueError, match=r"bounds: expected the smaller colour first, got \(1.0, 0.0\)"):
        refit_colors(gaussians, images, camera, bounds=(1.0, 0.0))
    with pytest.raises(ValueError, match="gaussians: expected colors, .* got sh of degree 1"):
        refit_colors(random_sh(generator, 1), images, camera)
    with pytest.raises(ValueError, match="steps: expected at least 0, got -1"):
        refit_colors(gaussians, images, camera, steps=-1)
