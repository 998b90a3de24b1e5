"""What clamped colours cost, against pictures composited one pixel after the other."""

import math
from dataclasses import replace

import pytest
import torch

from rendering.brute_force import composite_brute_force
from scenes import random_gaussians, random_sh
from splatlearn.core.cameras import Camera
from splatlearn.fitting import clamping_error, picture_error
from splatlearn.rendering import project

BACKGROUND = [0.3, 0.9, 0.1]


def pictures(gaussians, camera):
    color, _ = composite_brute_force(project(gaussians, camera), camera.height, camera.width, BACKGROUND)
    return color.clamp(0, 1)


@pytest.mark.parametrize("bounds", [(0.0, math.inf), (0.0, 1.0), (-0.1, 1.44)])
def test_against_a_loop_over_pixels(bounds: tuple[float, float], generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2,), 30)
    gaussians = replace(gaussians, colors=3.0 * gaussians.fixed_colors() - 1.0)
    camera = Camera.gmae(10, 14)
    error = clamping_error(gaussians, camera, BACKGROUND, bounds)
    shown = pictures(replace(gaussians, colors=gaussians.fixed_colors().clamp(*bounds)), camera)
    difference = (shown - pictures(gaussians, camera)).abs()
    assert error.largest == pytest.approx(float(difference.max()), abs=1e-4) and error.largest > 0.02
    assert error.psnr == pytest.approx(float(-10 * difference.square().mean().log10()), abs=0.01)
    assert error.is_visible and str(error) == f"up to {error.largest:.3f} (PSNR {error.psnr:.1f} dB)"


def test_colours_within_bounds_cost_nothing(generator: torch.Generator) -> None:
    error = clamping_error(random_gaussians(generator, (), 20), Camera.gmae(8, 8), bounds=(0.0, 1.0))
    assert (error.largest, error.psnr, error.is_visible) == (0.0, math.inf, False)


def test_harmonics_have_no_colours_to_clamp(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="gaussians: expected colors, .* got sh of degree 2"):
        clamping_error(random_sh(generator, 2), Camera.gmae(8, 8))


def test_screens_clamp_both_pictures() -> None:
    one = torch.tensor([[[-0.5, 0.2], [1.4, 1.0]]])
    other = torch.tensor([[[0.0, 0.2], [1.0, 1.0 - 0.5 / 256]]])
    error = picture_error(one, other)
    assert error.largest == pytest.approx(0.5 / 256) and not error.is_visible
    assert error.psnr == pytest.approx(-10 * math.log10((0.5 / 256) ** 2 / 4))
