"""Scores of masks against closed forms and scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import jaccard_score, precision_score, recall_score

from splatlearn.evaluation.saliency.baselines import center_prior, color_mixtures, otsu_figure
from splatlearn.evaluation.saliency.data import open_figure_ground, read_figure
from splatlearn.evaluation.saliency.scores import LEVELS, figure_scores, mask_score
from splatlearn.images import DataError


@pytest.fixture
def square() -> np.ndarray:
    truth = np.zeros((40, 50), dtype=bool)
    truth[10:30, 10:30] = True
    return truth


def test_a_perfect_mask_scores_one_everywhere(square):
    scores = figure_scores([mask_score(square.astype(np.float32), square)] * 2)
    assert scores.summary() == pytest.approx(dict.fromkeys(["iou", "max_f", "accuracy", "corloc", "boundary_f"], 1.0))


def test_a_shifted_square_has_the_overlap_of_its_area(square):
    shifted = np.roll(square, 10, axis=1)
    score = mask_score(shifted.astype(np.float32), square)
    assert score.iou == pytest.approx(200 / 600)
    assert score.accuracy == pytest.approx(1 - 400 / 2000)
    assert not score.found
    assert mask_score(np.roll(square, 6, axis=1).astype(np.float32), square).found


def test_values_agree_with_scikit_learn(square):
    soft = np.random.default_rng(0).random(square.shape).astype(np.float32)
    score = mask_score(soft, square)
    binary = soft >= 0.5
    assert score.iou == pytest.approx(jaccard_score(square.ravel(), binary.ravel()))
    for level in (1, 100, 254):
        kept = soft >= level / LEVELS
        assert score.precision[level - 1] == pytest.approx(precision_score(square.ravel(), kept.ravel()))
        assert score.recall[level - 1] == pytest.approx(recall_score(square.ravel(), kept.ravel()))


def test_the_largest_f_finds_the_right_threshold(square):
    # The figure is weaker than one half but stronger than the ground.
    soft = np.where(square, 0.4, 0.2).astype(np.float32)
    scores = figure_scores([mask_score(soft, square)])
    assert (scores.max_f, scores.iou) == (pytest.approx(1.0), 0.0)


def test_the_outline_is_scored_apart_from_the_area(square):
    dilated = np.zeros_like(square)
    dilated[6:34, 6:34] = True
    assert mask_score(dilated.astype(np.float32), square).boundary_f == 0.0
    assert mask_score(np.zeros(square.shape, np.float32), np.zeros_like(square)).boundary_f == 1.0


def test_wrong_masks_are_named(square, no_shape_checks):
    with pytest.raises(ValueError, match=r"soft: expected a mask of \[40, 50\] pixels like truth, got \[50, 40\]"):
        mask_score(np.zeros((50, 40), np.float32), square)
    with pytest.raises(ValueError, match=r"soft: expected values in \[0, 1\]"):
        mask_score(np.full(square.shape, 2.0, np.float32), square)
    with pytest.raises(ValueError, match="scores: expected the scores of at least one image"):
        figure_scores([])


def test_the_centre_prior_covers_its_share_and_peaks_in_the_middle():
    prior = center_prior(201, 301)
    assert prior.max() == prior[100, 150] == 1.0
    assert (prior >= 0.5).mean() == pytest.approx(0.25, abs=0.003)


@pytest.fixture
def picture(square) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.02, (40, 50, 3))
    return (np.where(square[..., None], [0.9, 0.2, 0.1], [0.2, 0.3, 0.5]) + noise).clip(0, 1).astype(np.float32)


def test_colour_baselines_find_a_red_square(picture, square):
    assert mask_score(color_mixtures(picture), square).iou > 0.8
    grey = np.where(square[..., None], 0.1, 0.8).repeat(3, axis=2).astype(np.float32)
    assert mask_score(otsu_figure(grey), square).iou == 1.0
    assert mask_score(otsu_figure(1 - grey), square).iou == 1.0
    assert otsu_figure(np.full((8, 8, 3), 0.5, np.float32)).max() == 0


def save_pair(folder: Path, name: str, mask: np.ndarray) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "images" / f"{name}.jpg")
    Image.fromarray(mask).save(folder / "masks" / f"{name}.png")


def test_groups_are_read_at_their_own_size(tmp_path: Path, square):
    for group in ("a", "b"):
        for name in ("1", "2", "3"):
            save_pair(tmp_path / group, name, square)
    groups = open_figure_ground(tmp_path, limit=2)
    assert {name: len(pairs) for name, pairs in groups.items()} == {"a": 2, "b": 2}
    assert list(open_figure_ground(tmp_path / "a")) == ["a"]
    photo, mask = read_figure(groups["a"][0])
    assert photo.shape == (40, 50, 3)
    np.testing.assert_array_equal(mask, square)


def test_wrong_folders_and_masks_are_named(tmp_path: Path, square):
    with pytest.raises(DataError, match="which does not exist"):
        open_figure_ground(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected sub-folders images and masks"):
        open_figure_ground(tmp_path)
    for name in ("1", "2"):
        save_pair(tmp_path, name, square[:20])
    pairs = next(iter(open_figure_ground(tmp_path).values()))
    with pytest.raises(DataError, match="expected a mask of 50×40 pixels like 1.jpg, got 50×20 in 1.png"):
        read_figure(pairs[0])
