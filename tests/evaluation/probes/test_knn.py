"""Nearest neighbours against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from evaluation.planted import planted, right, right_when_shuffled
from splatlearn.evaluation import knn_scores
from splatlearn.evaluation.probes import knn


@pytest.mark.parametrize(("neighbours", "temperature"), [(20, 0.07), (1, 0.07), (7, 0.5)])
def test_votes_are_those_of_scikit_learn(neighbours, temperature, monkeypatch):
    features = planted(signal=1.0)
    monkeypatch.setattr(knn, "AT_ONCE", 7 * len(features.train))  # several chunks, the last one smaller
    oracle = KNeighborsClassifier(
        neighbours,
        metric="cosine",
        algorithm="brute",
        weights=lambda distances: np.exp((1 - distances) / temperature),  # pyright: ignore[reportArgumentType]
    ).fit(features.train.double().numpy(), features.train_labels.numpy())
    expected = oracle.predict_proba(features.val.double().numpy())
    np.testing.assert_allclose(knn_scores(features, neighbours, temperature).numpy(), expected, atol=1e-5)


def test_planted_signal_is_found_and_shuffled_labels_are_at_chance():
    features = planted(train=300, val=300, signal=6.0)
    assert right(knn_scores(features), features) > 0.99
    assert abs(right_when_shuffled(knn_scores) - 1 / 3) < 0.05


def test_numbers_out_of_range_are_named():
    features = planted(train=9)
    with pytest.raises(ValueError, match="neighbours: expected a number from 1 to 9, the images to learn from, got 10"):
        knn_scores(features, 10)
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        knn_scores(features, 3, 0.0)


def test_scale_of_an_image_does_not_matter():
    features = planted()
    features.val.mul_(torch.rand(len(features.val), 1) + 0.5)
    torch.testing.assert_close(knn_scores(features), knn_scores(planted()), atol=1e-5, rtol=0)
