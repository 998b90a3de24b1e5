"""Linear probes: scikit-learn's regression as it is, LARS's schedule, and what both find."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from evaluation.planted import planted, right, right_when_shuffled
from splatlearn.evaluation import Features, LarsRecipe, lars_scores, logistic_scores
from splatlearn.evaluation.probes.linear import STRENGTHS, learning_rate


def test_regression_is_scikit_learns_at_the_chosen_strength():
    features = planted(signal=1.0).standardized()
    found = logistic_scores(features)
    assert found.strength in STRENGTHS and found.converged
    oracle = LogisticRegression(C=found.strength, max_iter=1000).fit(
        features.train.double().numpy(), features.train_labels.numpy()
    )
    np.testing.assert_allclose(found.scores.numpy(), oracle.predict_proba(features.val.double().numpy()), atol=1e-4)


def test_strength_follows_the_data():
    """Where labels are noise in many directions, strong regularisation wins over none."""
    noisy = planted(train=60, val=30, numbers=50, signal=1.5)
    assert logistic_scores(noisy).strength < STRENGTHS[-1]


@pytest.mark.parametrize("probe", ["logistic", "lars"])
def test_planted_signal_is_found_and_shuffled_labels_are_at_chance(probe):
    features = planted(train=300, val=300, signal=6.0).standardized()
    recipe = LarsRecipe(epochs=30, warmup_epochs=5, batch_size=100, base_learning_rate=20.0)

    def classify(these):
        return logistic_scores(these).scores if probe == "logistic" else lars_scores(these, recipe)

    assert right(classify(features), features) > 0.98
    assert abs(right_when_shuffled(classify, shuffles=4) - 1 / 3) < 0.06


def test_few_images_take_the_fixed_strength():
    features = planted(train=6, val=30, signal=8.0)
    found = logistic_scores(features)
    assert found.strength == 0.1
    assert right(found.scores, features) > 0.8


def test_class_without_images_to_learn_from_has_no_probability():
    features = planted(train=30)
    some = features.chosen(torch.nonzero(features.train_labels != 1)[:, 0])
    assert logistic_scores(some).scores[:, 1].abs().max() == 0


def test_learning_rate_warms_up_and_falls():
    recipe = LarsRecipe(epochs=90, warmup_epochs=10, base_learning_rate=0.1)
    assert learning_rate(recipe, 0.0, 16384) == 0.0
    assert learning_rate(recipe, 5.0, 16384) == pytest.approx(3.2)
    assert learning_rate(recipe, 10.0, 16384) == pytest.approx(6.4)
    assert learning_rate(recipe, 50.0, 256) == pytest.approx(0.05)
    assert learning_rate(recipe, 70.0, 256) == pytest.approx(0.05 * (1 + math.cos(0.75 * math.pi)))
    assert learning_rate(recipe, 90.0, 256) == pytest.approx(0.0)


def test_batches_of_the_recipe():
    assert [LarsRecipe().batch(images) for images in (40, 1000, 50_000, 1_281_167, 10_000_000)] == [
        40, 64, 512, 16384, 16384,
    ]  # fmt: skip
    assert LarsRecipe(batch_size=256).batch(1000) == 256


def test_lars_is_the_same_twice_and_leaves_the_global_generator():
    features, recipe = planted(), LarsRecipe(epochs=2, warmup_epochs=1)
    torch.manual_seed(5)
    first = lars_scores(features, recipe)
    state = torch.random.get_rng_state()
    torch.manual_seed(6)
    assert torch.equal(first, lars_scores(features, recipe))
    torch.manual_seed(5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(first, lars_scores(features, LarsRecipe(epochs=2, warmup_epochs=1, seed=1)))


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match="batch_size: expected at least 2, which batch normalisation needs, got 1"):
        LarsRecipe(batch_size=1)
    with pytest.raises(ValueError, match="epochs, warmup_epochs, .* got 0, 10, 0.1, 0.9"):
        LarsRecipe(epochs=0)
    with pytest.raises(ValueError, match="train: expected at least 2 images"):
        lars_scores(planted().chosen(torch.tensor([0])))


def test_fewer_images_than_features_give_the_fit_of_all_features() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(20, 50)), rng.normal(size=(30, 50))
    labels = np.arange(20) % 4  # five of each class, so that C is chosen too
    features = Features(
        torch.from_numpy(train).float(),
        torch.from_numpy(labels),
        torch.from_numpy(val).float(),
        torch.zeros(30, dtype=torch.int64),
        ("a", "b", "c", "d"),
    )
    found = logistic_scores(features)
    whole = LogisticRegression(C=found.strength, max_iter=1000, tol=1e-8)
    whole.fit(features.train.double().numpy(), labels)
    expected = torch.from_numpy(whole.predict_proba(features.val.double().numpy())).float()
    torch.testing.assert_close(found.scores, expected, rtol=0, atol=2e-3)


def test_one_image_of_each_of_many_classes_is_no_cause_for_a_warning() -> None:
    """Warnings are errors here."""
    rng = np.random.default_rng(0)
    train = torch.from_numpy(rng.normal(size=(40, 8))).float()
    labels, names = torch.arange(40), tuple(f"class {number}" for number in range(40))
    found = logistic_scores(Features(train, labels, train, labels, names))
    torch.testing.assert_close(found.scores.sum(dim=1), torch.ones(40))
    assert float((found.scores.argmax(dim=1) == labels).float().mean()) > 0.5
