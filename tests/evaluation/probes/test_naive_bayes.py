"""Gaussian classifiers against scikit-learn, and with few labels."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB

from evaluation.planted import planted, right, right_when_shuffled
from splatlearn.evaluation import Features, diagonal_scores, few_shot_draw, shared_scores


def uneven() -> Features:
    """Classes of 60, 30 and 10 images with variances of their own."""
    features = planted(train=180, signal=1.0)
    members = [torch.nonzero(features.train_labels == place)[:count, 0] for place, count in enumerate((60, 30, 10))]
    some = features.chosen(torch.cat(members))
    some.train.mul_(torch.tensor([0.5, 1.0, 2.0])[some.train_labels].unsqueeze(1))
    return some


def arrays(features: Features):
    return features.train.double().numpy(), features.train_labels.numpy(), features.val.double().numpy()


def test_diagonal_is_gaussian_nb_without_a_prior():
    features = uneven()
    x, y, val = arrays(features)
    expected = GaussianNB().fit(x, y).predict_joint_log_proba(val)
    assert expected is not None
    np.testing.assert_allclose(diagonal_scores(features, prior_count=0.0).numpy(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_shared_is_linear_discriminant_analysis(shrinkage):
    features = uneven()
    x, y, val = arrays(features)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y).predict_proba(val)
    found = shared_scores(features, shrinkage).double().softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_shrinkage_is_that_of_ledoit_and_wolf_within_classes():
    features = uneven()
    x, y, _ = arrays(features)
    residuals = x - np.stack([x[y == place].mean(axis=0) for place in range(3)])[y]
    weight = float(ledoit_wolf_shrinkage(residuals, assume_centered=True))
    assert 0 < weight < 1
    torch.testing.assert_close(shared_scores(features), shared_scores(features, weight))


@pytest.mark.parametrize("scores", [diagonal_scores, shared_scores])
def test_one_image_of_each_class_makes_the_nearest_mean_win(scores):
    features = planted(train=3, signal=3.0)
    nearest = torch.cdist(features.val, features.train).argmin(dim=1)
    assert torch.equal(scores(features).argmax(dim=1), features.train_labels[nearest])


@pytest.mark.parametrize("scores", [diagonal_scores, shared_scores])
def test_planted_signal_is_found_and_shuffled_labels_are_at_chance(scores):
    features = planted(train=300, val=300, signal=6.0).standardized()
    assert right(scores(features), features) > 0.98
    assert abs(right_when_shuffled(scores) - 1 / 3) < 0.05


def test_priors_help_where_labels_are_few():
    """Five images of each class say little of 40 variances: without a prior the diagonal classifier does worse."""
    features = planted(train=300, val=600, numbers=40, signal=3.0).standardized()
    gains = []
    for draw in range(5):
        few = features.chosen(few_shot_draw(features.train_labels, features.classes, 5, draw))
        gains.append(right(diagonal_scores(few), features) - right(diagonal_scores(few, prior_count=0.0), features))
    assert min(gains) > 0.02


def test_more_numbers_than_images_without_shrinkage():
    few = planted(train=9, numbers=30)
    assert torch.isfinite(shared_scores(few, 0.0)).all()


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"shrinkage: expected a number in \[0, 1\], got 1.5"):
        shared_scores(planted(), 1.5)
    with pytest.raises(ValueError, match="prior_count: expected a number ≥ 0, got -1"):
        diagonal_scores(planted(), -1.0)
