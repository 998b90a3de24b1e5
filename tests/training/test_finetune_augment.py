"""RandAugment against Pillow, which the official recipe uses."""

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn.functional import interpolate

from splatlearn.training.finetuning.augment import NONE, OPERATIONS, check_kornia, draw_operations, rand_augment

FILL = (0.5, 0.4, 0.6)
BYTES = tuple(round(255 * value) for value in FILL)


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    """Smooth pictures of two sides, in steps of 1/255."""
    pytest.importorskip("kornia")
    coarse = torch.rand(4, 3, 5, 6, generator=generator)
    return (interpolate(coarse, (40, 48), mode="bicubic").clamp(0.05, 0.95) * 255).round() / 255


def apply(images: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    count = len(images)
    operations = torch.full((count, 1), OPERATIONS.index(name))
    return rand_augment(images, operations, torch.full((count, 1), strength), FILL)


def by_pillow(images: torch.Tensor, change: Callable[[Image.Image], Image.Image]) -> torch.Tensor:
    pictures = [Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()) for image in images]
    changed = np.stack([np.asarray(change(picture)) for picture in pictures])
    return torch.from_numpy(changed).permute(0, 3, 1, 2).float() / 255


def affine(*numbers: float) -> Callable[[Image.Image], Image.Image]:
    method, filter = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    return lambda picture: picture.transform(picture.size, method, numbers, filter, fillcolor=BYTES)


def solarize_add(picture: Image.Image) -> Image.Image:
    return picture.point([min(255, value + 99) if value < 128 else value for value in range(256)] * 3)


COLOURS = {
    ("auto_contrast", 0.9): ImageOps.autocontrast,
    ("equalize", 0.9): ImageOps.equalize,
    ("invert", 0.9): ImageOps.invert,
    ("posterize", 0.9): lambda picture: ImageOps.posterize(picture, 1),
    ("posterize", -0.3): lambda picture: ImageOps.posterize(picture, 3),
    ("posterize", 1.0): lambda picture: ImageOps.posterize(picture, 1),
    ("solarize", -0.6): lambda picture: ImageOps.solarize(picture, 102),
    ("solarize_add", 0.9): solarize_add,
    ("color", 0.9): lambda picture: ImageEnhance.Color(picture).enhance(1.81),
    ("color", -0.9): lambda picture: ImageEnhance.Color(picture).enhance(0.19),
    ("contrast", 0.9): lambda picture: ImageEnhance.Contrast(picture).enhance(1.81),
    ("contrast", -0.9): lambda picture: ImageEnhance.Contrast(picture).enhance(0.19),
    ("brightness", 0.9): lambda picture: ImageEnhance.Brightness(picture).enhance(1.81),
    ("brightness", -0.9): lambda picture: ImageEnhance.Brightness(picture).enhance(0.19),
    ("sharpness", 0.9): lambda picture: ImageEnhance.Sharpness(picture).enhance(1.81),
    ("sharpness", -0.9): lambda picture: ImageEnhance.Sharpness(picture).enhance(0.19),
}
PLACES = {
    ("rotate", 0.9): lambda picture: picture.rotate(27, Image.Resampling.BICUBIC, fillcolor=BYTES),
    ("shear_x", -0.9): affine(1, 0.27, 0, 0, 1, 0),
    ("shear_y", -0.9): affine(1, 0, 0, 0.27, 1, 0),
    ("translate_x", -0.5): affine(1, 0, 0.225 * 48, 0, 1, 0),
    ("translate_y", 0.5): affine(1, 0, 0, 0, 1, -0.225 * 40),
}


def test_every_operation_is_compared() -> None:
    assert {name for name, _ in (*COLOURS, *PLACES)} == set(OPERATIONS)


@pytest.mark.parametrize(("name", "strength"), COLOURS)
def test_colours_are_pillows(images: torch.Tensor, name: str, strength: float) -> None:
    """Largest difference measured: 1.4 / 255, from Pillow's rounding to bytes on the way."""
    expected = by_pillow(images, COLOURS[name, strength])
    assert (expected - images).abs().mean() > 0.01 or name == "sharpness"
    torch.testing.assert_close(apply(images, name, strength), expected, atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize(("name", "strength"), PLACES)
def test_places_are_pillows(images: torch.Tensor, name: str, strength: float) -> None:
    """A mean difference below 3 / 255: kernels of interpolation differ, and edges are smooth here and hard there."""
    expected = by_pillow(images, PLACES[name, strength])
    assert (expected - images).abs().mean() > 0.08
    assert (apply(images, name, strength) - expected).abs().mean() < 3 / 255
    assert (apply(images, name, -strength) - expected).abs().mean() > 0.08


def test_a_channel_of_one_value_keeps_it(images: torch.Tensor) -> None:
    images[:, 1] = 0.25
    assert torch.equal(apply(images, "auto_contrast", 1.0)[:, 1], images[:, 1])


def test_each_image_has_its_own_operations_in_order(images: torch.Tensor) -> None:
    place = {name: OPERATIONS.index(name) for name in OPERATIONS}
    operations = torch.tensor(
        [[place["invert"], place["solarize"]], [place["solarize"], place["invert"]], [NONE, NONE], [NONE, 2]]
    )
    strengths = torch.full((4, 2), 0.6)
    changed = rand_augment(images, operations, strengths, FILL)
    assert torch.equal(changed[:1], apply(apply(images[:1], "invert", 0.6), "solarize", 0.6))
    assert torch.equal(changed[1:2], apply(apply(images[1:2], "solarize", 0.6), "invert", 0.6))
    assert torch.equal(changed[2], images[2])
    assert torch.equal(changed[3:], apply(images[3:], OPERATIONS[2], 0.6))


def test_an_image_does_not_depend_on_its_neighbours(images: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        each = [draw_operations(rng, 9.0, 2) for _ in images]
        operations = torch.from_numpy(np.stack([draws.operations for draws in each]))
        strengths = torch.from_numpy(np.stack([draws.strengths for draws in each]))
        together = rand_augment(images, operations, strengths, FILL)
        assert 0 <= together.min() and together.max() <= 1
        alone = [rand_augment(images[i : i + 1], operations[i : i + 1], strengths[i : i + 1], FILL) for i in range(4)]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_draws() -> None:
    rng = np.random.default_rng(0)
    many = [draw_operations(rng, 9.0, 2) for _ in range(3000)]
    operations = np.concatenate([draws.operations for draws in many])
    strengths = np.concatenate([draws.strengths for draws in many])
    assert np.mean(operations == NONE) == pytest.approx(0.5, abs=0.03)
    counts = np.bincount(operations[operations != NONE], minlength=len(OPERATIONS))
    assert len(counts) == 15 and counts.min() > 140 and counts.max() < 260  # 200 expected of each
    assert np.abs(strengths).mean() == pytest.approx(0.9, abs=0.01) and np.abs(strengths).max() <= 1
    assert np.mean(strengths > 0) == pytest.approx(0.5, abs=0.03)


def test_without_kornia_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs kornia.*pip install 'splatlearn\[finetune\]'.*--rand-augment 0"):
        check_kornia()
