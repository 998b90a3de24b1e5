"""Diagnostics where the answer is known."""

import math

import pytest
import torch

from splatlearn.evaluation import alignment, effective_rank, uniformity


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_of_equal_directions(rank):
    basis = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)))[0]
    centred = basis - basis.mean(dim=0)
    left = torch.linalg.svd(centred)[0][:, :rank]  # orthogonal columns, each of mean 0
    features = left @ torch.linalg.qr(torch.randn(10, 10))[0][:rank] + 5.0
    assert effective_rank(features) == pytest.approx(rank, rel=1e-3)


def test_rank_by_hand_and_of_a_point():
    # Singular values 3 and 1 of centred columns: shares 3/4 and 1/4.
    features = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(features) == pytest.approx(math.exp(entropy), rel=1e-6)
    assert effective_rank(torch.full((5, 3), 2.0)) == 0.0


def test_alignment_by_hand():
    first = torch.tensor([[1.0, 0], [0, 5]])
    assert alignment(first, 3 * first) == pytest.approx(0.0)
    assert alignment(first, first.flip(1)) == pytest.approx(2.0)
    assert alignment(first, -first) == pytest.approx(4.0)


def test_uniformity_by_hand():
    assert uniformity(torch.tensor([[1.0, 2], [2, 4], [3, 6]])) == pytest.approx(0.0)
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    expected = (2 * math.exp(-8) + 4 * math.exp(-4)) / 6
    assert uniformity(square) == pytest.approx(math.log(expected))


def test_wrong_arguments_are_named(no_shape_checks):
    with pytest.raises(ValueError, match=r"second: expected shape \[4, 2\] like first, got \[3, 2\]"):
        alignment(torch.zeros(4, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="features: expected at least 2 images, got 1"):
        uniformity(torch.ones(1, 3))
