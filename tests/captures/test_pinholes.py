"""Undistortion: the pinhole that takes a lens's place, and what its pictures show."""

from __future__ import annotations

import numpy as np
import pytest

from captures.pictures import pinhole, seen_through
from captures.test_lenses import ALL, lens_of
from splatlearn.captures.lenses import Lens
from splatlearn.captures.photographs.pinholes import WIDEST, pinhole_of, resampling, result_of
from splatlearn.core.errors import InputError

DISTORTED = [name for name in ALL if name not in ("PINHOLE", "SIMPLE_PINHOLE", "EQUIRECTANGULAR")]
WIDE = np.tan(np.radians(WIDEST))


def colours(rays: np.ndarray) -> np.ndarray:
    return 127 + 100 * np.sin(7 * rays + np.array([0.3, 1.1, 2.0]))


def corners(lens: Lens) -> np.ndarray:
    return lens.unproject(np.array([(x, y) for x in (1e-6, lens.width - 1e-6) for y in (1e-6, lens.height - 1e-6)]))


@pytest.mark.parametrize("name", DISTORTED)
def test_the_pinhole_shows_what_the_lens_shows_in_the_same_directions(name: str) -> None:
    lens = lens_of(name).scaled(320, 240)
    flat = pinhole_of(lens)
    found = resampling(lens).picture(seen_through(lens, colours)).astype(float)
    seen = resampling(lens).seen
    assert found.shape == (flat.height, flat.width, 3)
    error = np.abs(found - seen_through(flat, colours))
    error[:3], error[-3:], error[:, :3], error[:, -3:] = 0, 0, 0, 0  # where the photograph ends, pixels are repeated
    assert error[... if seen is None else seen].max() <= 1.0


@pytest.mark.parametrize("name", DISTORTED)
def test_the_pinhole_keeps_the_middle_and_is_as_wide_as_the_rule_says(name: str) -> None:
    lens = lens_of(name)
    flat = pinhole_of(lens)
    assert (flat.fx, flat.fy) == (lens.fx, lens.fy)
    np.testing.assert_allclose(flat.project(np.array([0.0, 0, 1])), (flat.cx, flat.cy))
    x, y = np.abs(corners(flat)[:, 0] / corners(flat)[:, 2]), np.abs(corners(flat)[:, 1] / corners(flat)[:, 2])
    assert max(x.max(), y.max()) <= WIDE + 1e-9
    # One more pixel at any edge would be wider than allowed, or show something that the photograph does not.
    for side, limit in (((1, 0), x), ((0, 1), y)):
        for sign in (-1, 1):
            edge = np.array((flat.width, flat.height)) / 2 * (1 + np.array(side) * sign)
            along = np.linspace(-0.5, 0.5, 51)[:, None] * (side[1], side[0]) * (flat.width, flat.height)
            beyond = flat.unproject(edge + along + np.array(side) * sign * 2)
            assert limit.max() > WIDE - 0.01 or not lens.sees(beyond).all()


@pytest.mark.parametrize("k", [-0.2, -0.05, 0.05])
def test_ordinary_lenses_leave_no_empty_pixels(k: float) -> None:
    lens = Lens("SIMPLE_RADIAL", 300, 200, (300.0, 151.0, 98.0, k))
    assert resampling(lens).seen is None and resampling(lens).mask(None) is None


def test_a_fisheye_of_a_whole_hemisphere_becomes_a_picture_of_110_degrees() -> None:
    lens = Lens("OPENCV_FISHEYE", 400, 400, (127.0, 127.0, 200.0, 200.0, 0, 0, 0, 0))
    flat = pinhole_of(lens)
    assert np.degrees(2 * np.arctan(flat.width / 2 / flat.fx)) == pytest.approx(110, abs=0.2)
    assert resampling(lens).seen is None


def test_what_a_photograph_does_not_show_is_masked() -> None:
    """Of a lens with a fold at 30 degrees: no pixel beyond it counts."""
    lens = Lens("SIMPLE_RADIAL", 300, 300, (300.0, 150.0, 150.0, -1.0))
    mask = resampling(lens).mask(None)
    assert mask is not None
    flat = pinhole_of(lens)
    y, x = np.nonzero(mask)
    radius = np.hypot((x + 0.5 - flat.cx) / flat.fx, (y + 0.5 - flat.cy) / flat.fy)
    assert radius.max() == pytest.approx(1 / np.sqrt(3), abs=0.005)


def test_a_mask_is_resampled_with_the_picture() -> None:
    lens = lens_of("OPENCV").scaled(320, 240)
    mask = np.zeros((240, 320), dtype=np.uint8)
    mask[:, 160:] = 255
    found = resampling(lens).mask(mask)
    assert found is not None and set(np.unique(found)) == {0, 255}
    inside = seen_through(pinhole_of(lens), lambda rays: np.where(lens.project(rays)[..., :1] >= 160, 255.0, 0.0))[
        ..., 0
    ]
    assert (found <= inside).all() and (inside != found).mean() < 0.01


def test_colours_of_transparent_pixels_do_not_spread() -> None:
    lens = lens_of("OPENCV").scaled(320, 240)
    pixels = np.zeros((240, 320, 4), dtype=np.uint8)
    pixels[:, :160] = (0, 255, 0, 0)
    pixels[:, 160:] = (200, 40, 90, 255)
    found = resampling(lens).picture(pixels)
    partly = (found[..., 3] > 20) & (found[..., 3] < 235)
    assert partly.any()
    np.testing.assert_allclose(found[partly][:, :3], [(200, 40, 90)] * partly.sum(), atol=8)


def test_a_lens_without_distortion_is_its_own_pinhole() -> None:
    lens = Lens("OPENCV", 64, 48, (50, 51, 32, 24, 0, 0, 0, 0))
    assert pinhole_of(lens) == Lens.pinhole(64, 48, 50, 51, 32, 24)
    assert pinhole_of(pinhole(64, 48)) == pinhole(64, 48)


def test_no_pinhole_takes_the_place_of_a_panorama() -> None:
    lens = lens_of("EQUIRECTANGULAR")
    with pytest.raises(InputError, match="EQUIRECTANGULAR shows all directions"):
        pinhole_of(lens)
    assert result_of(lens) == lens and result_of(pinhole(64, 48)) == pinhole(64, 48)


def test_a_lens_that_looks_aside_is_refused() -> None:
    with pytest.raises(InputError, match="expected a lens that looks along its axis, got SIMPLE_RADIAL"):
        pinhole_of(Lens("SIMPLE_RADIAL", 100, 100, (100.0, -50.0, 50.0, 0.1)))
