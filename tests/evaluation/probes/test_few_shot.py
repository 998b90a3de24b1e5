"""Draws of few images: of every class, the same for every model, larger ones around smaller ones."""

import pytest
import torch

from splatlearn.evaluation import few_shot_draw
from splatlearn.evaluation.probes.few_shot import budget_name, possible_shots

LABELS = torch.arange(400) % 4
CLASSES = ("a", "b", "c", "d")


@pytest.mark.parametrize(("budget", "each"), [(1, 1), (5, 5), (100, 100), (0.01, 1), (0.1, 10), (0.001, 1)])
def test_every_class_has_its_images(budget, each):
    chosen = few_shot_draw(LABELS, CLASSES, budget, draw=0)
    assert torch.bincount(LABELS[chosen]).tolist() == [each] * 4
    assert len(set(chosen.tolist())) == 4 * each and chosen.tolist() == sorted(chosen.tolist())


def test_draws_are_functions_of_seed_and_draw():
    first = few_shot_draw(LABELS, CLASSES, 5, draw=0, seed=3)
    torch.manual_seed(1)
    assert torch.equal(first, few_shot_draw(LABELS, CLASSES, 5, draw=0, seed=3))
    assert not torch.equal(first, few_shot_draw(LABELS, CLASSES, 5, draw=1, seed=3))
    assert not torch.equal(first, few_shot_draw(LABELS, CLASSES, 5, draw=0, seed=4))


def test_larger_budgets_hold_smaller_ones():
    draws = [set(few_shot_draw(LABELS, CLASSES, budget, draw=2).tolist()) for budget in (1, 5, 0.1, 50)]
    assert draws[0] < draws[1] < draws[2] < draws[3]


def test_images_are_drawn_evenly():
    """Over many draws each of a class's 100 images comes about as often."""
    counts = torch.zeros(400)
    for draw in range(200):
        counts[few_shot_draw(LABELS, CLASSES, 10, draw)] += 1
    assert counts.min() > 5 and counts.max() < 40


def test_more_shots_than_images():
    labels = torch.tensor([0, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="shots: expected at most .* got 2 of each class, but 'b' has 1; choose fewer"):
        few_shot_draw(labels, CLASSES, 2, 0)
    with pytest.raises(
        ValueError, match=r"budget: expected a positive number of images or a share in \(0, 1\), got 1.5"
    ):
        few_shot_draw(labels, CLASSES, 1.5, 0)
    with pytest.raises(ValueError, match="budget: .* got 0"):
        few_shot_draw(labels, CLASSES, 0, 0)


def test_names_and_usual_numbers():
    assert [budget_name(budget) for budget in (5, 0.01, 0.1)] == ["5 per class", "1%", "10%"]
    assert possible_shots(torch.arange(28) % 4, CLASSES) == (1, 5)
    assert possible_shots(LABELS, CLASSES) == (1, 5, 10)
