"""Crops: the sampling rule, the resizing and the flip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from data.pictures import array
from splatlearn.data import RandomResizedCrop, resize_center_crop


def pillow_resized(image: Image.Image, width: int, height: int) -> np.ndarray:
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 24)])
def test_boxes_follow_area_and_aspect(height: int, width: int):
    crop = RandomResizedCrop(height, width, scale=(0.1, 0.3))  # small enough that every box fits
    rng = np.random.default_rng(0)
    boxes = np.array([crop.sample_box(400, 400, rng) for _ in range(2000)])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and boxes.max() <= 400
    relative = w / h / (width / height)
    assert relative.min() > 3 / 4 * 0.98 and relative.max() < 4 / 3 * 1.02  # sides are rounded to pixels
    areas = w * h / 400**2
    assert areas.min() > 0.099 and areas.max() < 0.301
    # Log-uniform aspects are as often below as above the target's.
    assert abs((relative < 1).mean() - 0.5) < 0.05


def test_areas_are_uniform_where_every_box_fits():
    crop = RandomResizedCrop(8, 8, scale=(0.1, 0.5))
    rng = np.random.default_rng(1)
    boxes = np.array([crop.sample_box(1000, 1000, rng) for _ in range(4000)])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 1e6
    quantiles = np.quantile(areas, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, [0.2, 0.3, 0.4], atol=0.02)
    starts = boxes[:, 0] / (1000 - (boxes[:, 2] - boxes[:, 0]))
    np.testing.assert_allclose(np.quantile(starts, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)


@pytest.mark.parametrize(
    ("size", "expected"), [((1000, 10), (493, 0, 506, 10)), ((10, 1000), (0, 493, 10, 506)), ((1, 1), (0, 0, 1, 1))]
)
def test_extreme_images_fall_back_to_a_central_box(size: tuple[int, int], expected: tuple[int, int, int, int]):
    crop = RandomResizedCrop(16, 16, scale=(1.0, 1.0))
    assert crop.sample_box(*size, np.random.default_rng(0)) == expected


def test_whole_image_is_what_pillow_resizes():
    image = Image.fromarray(array(0, 40, 60))
    crop = RandomResizedCrop(20, 30, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    np.testing.assert_array_equal(crop(image, np.random.default_rng(0)), pillow_resized(image, 30, 20))


def test_a_crop_is_the_resized_box():
    image = Image.fromarray(array(1, 96, 128))
    crop = RandomResizedCrop(32, 32, flip=0.0)
    pixels = crop(image, np.random.default_rng(3))
    cut = image.crop(crop.sample_box(128, 96, np.random.default_rng(3)))
    difference = np.abs(pixels.astype(int) - pillow_resized(cut, 32, 32))
    # Away from the box's edge, where the filter may look beyond it, the two ways agree.
    assert difference[:, 4:-4, 4:-4].max() <= 1


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_flip_mirrors_from_left_to_right(flip: float, mirrored: bool):
    image = Image.fromarray(array(2, 16, 16))
    pixels = RandomResizedCrop(16, 16, (1.0, 1.0), (1.0, 1.0), flip)(image, np.random.default_rng(0))
    expected = array(2, 16, 16).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels, expected[:, :, ::-1] if mirrored else expected)
    assert pixels.flags.c_contiguous


def test_half_of_the_images_are_flipped():
    image = Image.fromarray(array(2, 4, 4))
    crop = RandomResizedCrop(4, 4, (1.0, 1.0), (1.0, 1.0))
    rng = np.random.default_rng(0)
    upright = array(2, 4, 4).transpose(2, 0, 1)
    share = np.mean([np.array_equal(crop(image, rng), upright) for _ in range(1000)])
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / 1000)


def test_the_same_generator_gives_the_same_crop():
    image = Image.fromarray(array(3, 50, 70))
    crop = RandomResizedCrop(16, 16)
    first, second = (crop(image, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_small_images_are_enlarged_and_said_to_be():
    image = Image.fromarray(array(4, 5, 40))
    crop = RandomResizedCrop(16, 24)
    assert crop(image, np.random.default_rng(0)).shape == (3, 16, 24)
    assert crop.enlarges(*image.size)
    assert not crop.enlarges(24, 16)


@pytest.mark.parametrize(
    ("size", "box"), [((60, 40), (10, 0, 50, 40)), ((40, 60), (0, 10, 40, 50)), ((40, 40), (0, 0, 40, 40))]
)
def test_center_crop_takes_the_whole_shorter_side(size: tuple[int, int], box: tuple[int, int, int, int]):
    width, height = size
    image = Image.fromarray(array(5, height, width))
    pixels = resize_center_crop(image, 40, 40)
    np.testing.assert_array_equal(pixels, pillow_resized(image.crop(box), 40, 40))


@pytest.mark.parametrize("size", [(61, 40), (7, 3), (1, 1), (33, 100)])
@pytest.mark.parametrize("target", [(16, 16), (10, 30), (31, 7)])
def test_center_crop_of_any_size(size: tuple[int, int], target: tuple[int, int]):
    pixels = resize_center_crop(Image.new("RGB", size, (9, 8, 7)), *target)
    assert pixels.shape == (3, *target)
    assert pixels.reshape(3, -1).T.tolist() == [[9, 8, 7]] * (target[0] * target[1])


def test_center_crop_keeps_the_centre():
    pixels = np.zeros((21, 41, 3), dtype=np.uint8)
    pixels[:, 20] = 255
    cropped = resize_center_crop(Image.fromarray(pixels), 21, 21)
    np.testing.assert_array_equal(cropped, pixels[:, 10:31].transpose(2, 0, 1))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="^height, width: expected positive sizes in pixels, got 0 x 4"):
        RandomResizedCrop(0, 4)
    with pytest.raises(ValueError, match=r"^scale: expected two increasing shares .* got \(0.5, 0.2\)"):
        RandomResizedCrop(4, 4, scale=(0.5, 0.2))
    with pytest.raises(ValueError, match="^ratio: expected two increasing positive aspects"):
        RandomResizedCrop(4, 4, ratio=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"^flip: expected a probability in \[0, 1\], got 1.5"):
        RandomResizedCrop(4, 4, flip=1.5)
    with pytest.raises(ValueError, match="^height, width: expected positive sizes"):
        resize_center_crop(Image.new("RGB", (2, 2)), 4, 0)
