"""Masks: their values are class numbers whatever the file's mode, void is left out, and one class is no task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from data.pictures import turned_file
from models.small_models import small_mae
from splatlearn.evaluation import evaluate_segmentation
from splatlearn.evaluation.probes.dense import DenseFeatures, SegmentationRecipe, intersection_over_union, segment
from splatlearn.evaluation.saliency.data import read_figure
from splatlearn.evaluation.segmentation_data import (
    IGNORED,
    open_segmented_images,
    read_mask,
    read_pair,
    segment_classes,
)
from splatlearn.images import DataError

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def palette(values: np.ndarray) -> Image.Image:
    image = grey(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    return image


def deep(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint16))


def repeated(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([values.astype(np.uint8)] * 3, axis=-1))


def opaque(values: np.ndarray) -> Image.Image:
    return repeated(values).convert("RGBA")


MODES = {"grey": grey, "palette": palette, "16 bits": deep, "RGB": repeated, "RGBA": opaque}


def a_set(folder: Path, masks: list[Image.Image]) -> Path:
    """Noise photographs with the masks given."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        pixels = rng.integers(0, 256, (mask.height, mask.width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02d}.png")
        mask.save(folder / "masks" / f"{number:02d}.png")
    return folder


def blocks(*values: int) -> np.ndarray:
    """A mask of 16×24 pixels in bars of these values."""
    return np.repeat(np.array(values), 24 // len(values))[None].repeat(16, axis=0)


@pytest.mark.parametrize("mode", MODES)
def test_values_are_class_numbers_in_every_mode(mode: str, tmp_path: Path):
    values = blocks(0, 3, 7, 255)
    images = open_segmented_images(a_set(tmp_path, [MODES[mode](values), MODES[mode](blocks(0, 3))]))
    classes = segment_classes(images)
    assert (classes.values, classes.names) == ((0, 3, 7), ("class 0", "class 3", "class 7"))
    np.testing.assert_array_equal(read_mask(images.pairs[0][1]), values)
    _, found = read_pair(images.pairs[0], (16, 24), classes)
    np.testing.assert_array_equal(found, blocks(0, 1, 2, IGNORED))


@pytest.mark.parametrize("mode", MODES)
def test_0_and_255_alone_are_two_classes(mode: str, tmp_path: Path):
    images = open_segmented_images(a_set(tmp_path, [MODES[mode](blocks(0, 255)), MODES[mode](blocks(255, 255))]))
    classes = segment_classes(images)
    assert classes.names == ("class 0", "class 1")
    np.testing.assert_array_equal(read_pair(images.pairs[0], (16, 24), classes)[1], blocks(0, 1))


def test_black_and_white_files_of_one_bit_go_with_those_of_0_and_255(tmp_path: Path):
    masks = [Image.fromarray(blocks(0, 255) > 0), grey(blocks(255, 0))]
    images = open_segmented_images(a_set(tmp_path, masks))
    classes = segment_classes(images)
    assert len(classes) == 2
    for pair, expected in zip(images.pairs, (blocks(0, 1), blocks(1, 0)), strict=True):
        np.testing.assert_array_equal(read_pair(pair, (16, 24), classes)[1], expected)


def test_the_whole_set_decides_what_255_means(tmp_path: Path):
    """A mask of ground and void alone belongs to a set with class numbers."""
    images = open_segmented_images(a_set(tmp_path, [grey(blocks(0, 255)), grey(blocks(0, 1))]))
    classes = segment_classes(images)
    assert classes.values == (0, 1)
    np.testing.assert_array_equal(read_pair(images.pairs[0], (16, 24), classes)[1], blocks(0, IGNORED))


def test_numbers_beyond_8_bits_and_their_void(tmp_path: Path):
    images = open_segmented_images(a_set(tmp_path, [deep(blocks(12001, 40000, 65535)), deep(blocks(5, 12001))]))
    classes = segment_classes(images)
    assert classes.values == (5, 12001, 40000)
    np.testing.assert_array_equal(read_pair(images.pairs[0], (16, 24), classes)[1], blocks(1, 2, IGNORED))


@pytest.mark.parametrize(
    ("masks", "came"),
    [
        ([blocks(0), blocks(0)], "got 0 alone in the 2 masks"),
        ([blocks(255), blocks(255)], "got 255 alone in the 2 masks"),
        ([blocks(4, 255), blocks(4)], "got 4 alone beside void pixels in the 2 masks"),
    ],
)
def test_one_class_is_refused_before_anything_is_computed(masks: list[np.ndarray], came: str, tmp_path: Path):
    folder = a_set(tmp_path, [grey(mask) for mask in masks])
    with pytest.raises(DataError, match=f"^segmentation: expected masks of at least two classes, {came}"):
        evaluate_segmentation(small_mae(), folder)


def test_one_class_in_a_part_is_refused(tmp_path: Path):
    masks = [grey(blocks(0, 1)), *[grey(blocks(0))] * 5]
    folder = a_set(tmp_path, masks)
    train, val = open_segmented_images(folder).split()
    assert len(val.pairs) == 1 and len(train.pairs) == 5
    where = "to be judged on" if val.pairs[0][0].stem != "00" else "to learn from"
    with pytest.raises(DataError, match=f"two of 2 classes in the . images {where}, .* got class 0 alone"):
        evaluate_segmentation(small_mae(), folder, controls=False)


def test_colours_are_refused_and_orientation_is_applied(tmp_path: Path):
    folder = a_set(tmp_path, [grey(blocks(0, 1))] * 2)
    colours = np.random.default_rng(0).integers(0, 4, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(colours).save(folder / "masks" / "00.png")
    with pytest.raises(DataError, match="grey or a palette, got pixels of mode RGB in 00.png; convert the mask"):
        segment_classes(open_segmented_images(folder))
    sheer = grey(blocks(0, 1)).convert("LA")
    sheer.putalpha(grey(blocks(0, 1)))
    sheer.save(folder / "masks" / "00.png")
    with pytest.raises(DataError, match="got pixels of mode LA in 00.png"):
        read_mask(folder / "masks" / "00.png")
    upright = np.dstack([blocks(0, 1, 2)] * 3).astype(np.uint8)
    (folder / "masks" / "00.png").write_bytes(turned_file("PNG", upright, 6))
    np.testing.assert_array_equal(read_mask(folder / "masks" / "00.png"), upright[..., 0])


def test_void_counts_neither_in_the_loss_nor_in_the_score():
    """Of planted masks whose other half is void the probe and its score know nothing."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (6, 4, 4), generator=generator)
    tokens = torch.nn.functional.one_hot(masks, 3).permute(0, 3, 1, 2).float()
    tokens = tokens + 0.1 * torch.randn(tokens.shape, generator=generator)
    lying = masks.clone()
    lying[:, 2:] = (masks[:, 2:] + 1) % 3
    void = masks.clone()
    void[:, 2:] = IGNORED
    recipe = SegmentationRecipe(steps=80, batch_size=3, learning_rate=0.1)
    found = segment(DenseFeatures(tokens, void), DenseFeatures(tokens, masks), 3, recipe)
    assert torch.equal(found, masks)
    lost = segment(DenseFeatures(tokens, lying), DenseFeatures(tokens, masks), 3, recipe)
    assert not torch.equal(lost, masks)
    guess = torch.randint(0, 3, masks.shape, generator=generator)
    expected = jaccard_score(masks[:, :2].flatten().numpy(), guess[:, :2].flatten().numpy(), average=None)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(intersection_over_union(guess, void, 3).numpy(), expected)


def test_a_batch_of_void_teaches_nothing():
    masks = torch.full((4, 4, 4), IGNORED)
    masks[:2, :, 2:], masks[:2, :, :2] = 1, 0
    tokens = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    steps: list[tuple[int, int]] = []
    recipe = SegmentationRecipe(steps=6, batch_size=1)
    train = DenseFeatures(tokens, masks)
    found = segment(train, train, 2, recipe, lambda done, total: steps.append((done, total)))
    # A step on nothing would leave weights that are not numbers, and class 0 everywhere.
    assert set(found.unique().tolist()) == {0, 1}
    assert steps == [(step, 6) for step in range(6)]


def test_three_classes_in_grey_are_scored_as_three(tmp_path: Path):
    masks = [grey(np.roll(blocks(0, 1, 2, 255), shift, axis=1)) for shift in range(0, 24, 3)]
    evaluation = evaluate_segmentation(
        small_mae(), a_set(tmp_path, masks), recipe=SegmentationRecipe(steps=5), controls=False
    )
    assert evaluation.classes == ("class 0", "class 1", "class 2")
    settings = evaluation.model.scores[0].settings
    assert set(settings) == {f"IoU of class {number}" for number in range(3)}
    assert 0 < evaluation.chance < 0.5


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_grey_masks_of_the_report_have_three_classes():
    images = open_segmented_images(CASES / "26_grey012")
    assert segment_classes(images).names == ("class 0", "class 1", "class 2")
    evaluation = evaluate_segmentation(small_mae(), images, recipe=SegmentationRecipe(steps=5), controls=False)
    assert evaluation.chance < 0.4


@pytest.mark.parametrize(
    ("mask", "figure"),
    [
        (grey(blocks(0, 255)), blocks(0, 1)),
        (grey(blocks(0, 1)), blocks(0, 1)),
        (palette(blocks(0, 1, 2)), blocks(0, 1, 1)),
        (grey(blocks(0, 1, 255)), blocks(0, 1, 0)),
        (grey(blocks(0, 90, 200, 255)), blocks(0, 0, 1, 1)),
    ],
    ids=["0 and 255", "0 and 1", "palette", "void", "shades"],
)
def test_figures_are_read_by_the_same_rule(mask: Image.Image, figure: np.ndarray, tmp_path: Path):
    images = open_segmented_images(a_set(tmp_path, [mask, mask]))
    np.testing.assert_array_equal(read_figure(images.pairs[0])[1], figure.astype(bool))
