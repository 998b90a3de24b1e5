"""The segmentation probe: planted masks are found, shuffled ones are not, and pairs are read as they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from data.pictures import truncated_jpeg
from models.small_models import small_gmae, small_mae
from splatlearn.evaluation import evaluate_segmentation
from splatlearn.evaluation.probes.dense import (
    DenseFeatures,
    SegmentationRecipe,
    dense_features,
    intersection_over_union,
    segment,
)
from splatlearn.evaluation.segmentation_data import SegmentClasses, open_segmented_images, read_pair, segment_classes
from splatlearn.images import DataError


def discs(folder: Path, count: int = 20, size: tuple[int, int] = (32, 48)) -> Path:
    """Red discs on noisy green, with masks of the discs."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    for number in range(count):
        center = rng.uniform(8, 24), rng.uniform(12, 36)
        mask = (y - center[0]) ** 2 + (x - center[1]) ** 2 < 8**2
        image = rng.integers(0, 120, (*size, 3))
        image[..., 0] += 130 * mask
        image[..., 1] += 130 * ~mask
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    return folder


BINARY = SegmentClasses((0, 255), ("class 0", "class 1"))


class TestPairs:
    def test_split_is_fixed_and_whole(self, tmp_path: Path):
        pairs = open_segmented_images(discs(tmp_path))
        train, val = pairs.split()
        assert (len(train.pairs), len(val.pairs)) == (16, 4)
        assert sorted(train.pairs + val.pairs) == list(pairs.pairs)
        assert val == open_segmented_images(str(tmp_path)).split()[1]

    def test_mask_is_cropped_like_its_image(self, tmp_path: Path):
        """Of a picture that is its own mask, both are the same at the model's size."""
        mask = np.zeros((40, 90), np.uint8)
        mask[10:30, 33:61] = 255  # even rows and columns of the central square
        for name in ("images", "masks"):
            (tmp_path / name).mkdir()
            for number in range(2):
                Image.fromarray(mask).save(tmp_path / name / f"{number}.png")
        image, numbers = read_pair(open_segmented_images(tmp_path).pairs[0], (20, 20), BINARY)
        np.testing.assert_array_equal(image[0] > 127, numbers == 1)
        assert numbers.sum() == 10 * 14

    def test_what_is_missing_or_broken_is_named(self, tmp_path: Path):
        with pytest.raises(DataError, match="^segmentation: expected a folder with sub-folders images and masks, got"):
            open_segmented_images(tmp_path)
        folder = discs(tmp_path, count=3)
        (folder / "masks" / "01.png").unlink()
        with pytest.raises(DataError, match="a PNG in .*masks for each image, got none for 1 of them, 01.png for one"):
            open_segmented_images(folder)
        (folder / "images" / "01.png").unlink()
        pairs = open_segmented_images(folder).pairs
        Image.new("L", (9, 7)).save(pairs[0][1])
        with pytest.raises(DataError, match="a mask of 48x32 pixels like 00.png, got 9x7 in 00.png"):
            read_pair(pairs[0], (16, 24), BINARY)
        pairs[1][0].write_bytes(truncated_jpeg())
        with pytest.raises(DataError, match="^segmentation: expected readable images and masks, got 02.png"):
            read_pair(pairs[1], (16, 24), BINARY)
        (folder / "images" / "00.png").unlink()
        with pytest.raises(DataError, match="expected at least two images in .*, got 1"):
            open_segmented_images(folder)


class TestProbe:
    def planted(self, shuffle: bool = False) -> tuple[DenseFeatures, DenseFeatures]:
        generator = torch.Generator().manual_seed(0)
        labels = (torch.rand(24, 4, 6, generator=generator) < 0.4).long()
        tokens = torch.randn(24, 8, 4, 6, generator=generator)
        tokens[:, 2] += 8.0 * labels
        if shuffle:
            labels = labels.flatten()[torch.randperm(labels.numel(), generator=generator)].reshape(labels.shape)
        masks = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
        return DenseFeatures(tokens[:16], masks[:16]), DenseFeatures(tokens[16:], masks[16:])

    def test_planted_masks_are_found_and_shuffled_ones_are_not(self):
        recipe = SegmentationRecipe(steps=100, learning_rate=0.03)
        train, val = self.planted()
        found = segment(train, val, 2, recipe)
        assert found.shape == val.masks.shape
        inner = (slice(None), slice(1, None, 4), slice(1, None, 4))
        assert float((found[inner] == val.masks[inner]).double().mean()) > 0.97
        assert float(intersection_over_union(found, val.masks, 2).mean()) > 0.7
        train, val = self.planted(shuffle=True)
        lost = segment(train, val, 2, recipe)
        assert float(intersection_over_union(lost, val.masks, 2).mean()) < 0.4

    def test_iou_is_scikit_learns(self):
        generator = torch.Generator().manual_seed(0)
        masks, guess = (torch.randint(0, 4, (3, 8, 8), generator=generator) for _ in range(2))
        expected = jaccard_score(masks.flatten().numpy(), guess.flatten().numpy(), average=None)  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(intersection_over_union(guess, masks, 4).numpy(), expected)
        assert math.isnan(float(intersection_over_union(guess, masks, 5)[4]))

    def test_shapes_that_differ(self, no_shape_checks):
        with pytest.raises(ValueError, match=r"predicted: expected shape \[1, 2, 2\] like masks, got \[1, 2, 3\]"):
            intersection_over_union(torch.zeros(1, 2, 3).long(), torch.zeros(1, 2, 2).long(), 2)

    def test_tokens_are_the_feature_map(self, tmp_path: Path):
        pairs = open_segmented_images(discs(tmp_path, count=5))
        model = small_gmae().eval()
        found = dense_features(model, pairs, segment_classes(pairs), (16, 24), 4)
        image, mask = read_pair(pairs.pairs[3], (16, 24), BINARY)
        with torch.no_grad():
            expected = model.feature_map(torch.from_numpy(image)[None].float() / 255)
        torch.testing.assert_close(found.tokens[3:4], expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.masks[3], torch.from_numpy(mask).long())
        pixels = dense_features(None, pairs, BINARY, (16, 24), 4).tokens
        torch.testing.assert_close(pixels[3, :3, 1, 2] * 255, torch.from_numpy(image[:, 4, 8]).float())


def test_pixels_find_what_is_a_matter_of_colour(tmp_path: Path):
    recipe = SegmentationRecipe(steps=150, learning_rate=0.03)
    evaluation = evaluate_segmentation(small_mae(), discs(tmp_path), recipe=recipe)
    assert [subject.name for subject in evaluation.subjects] == ["model", "random weights", "raw pixels"]
    scores = {subject.name: subject.scores[0] for subject in evaluation.subjects}
    assert scores["raw pixels"].value > 0.7 > evaluation.chance > 0.3
    assert scores["model"].metric == "mean IoU"
    shares = [scores["model"].settings[f"IoU of class {number}"] for number in (0, 1)]
    assert np.mean(np.array(shares, dtype=float)) == pytest.approx(scores["model"].value)
    assert (evaluation.train_images, evaluation.val_images) == (16, 4)
    again = evaluate_segmentation(small_mae(), str(tmp_path), controls=False, recipe=recipe)
    assert again.subjects == evaluation.subjects[:1]
