"""Keyed permutations: bijective, different by key, in constant memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatlearn.data import KeyedPermutation, sample_order


def whole(order: KeyedPermutation) -> list[int]:
    return order(np.arange(len(order))).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1000, 4096, 4097])
def test_bijective(size: int):
    assert sorted(whole(KeyedPermutation(size, 12345))) == list(range(size))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_bijective_for_any_size_and_key(size: int, key: int):
    assert sorted(whole(KeyedPermutation(size, key))) == list(range(size))


def test_positions_map_one_by_one_as_all_at_once():
    order = KeyedPermutation(1000, 3)
    expected = whole(order)
    assert [int(order(np.array([position]))[0]) for position in (0, 17, 999)] == [
        expected[position] for position in (0, 17, 999)
    ]


@pytest.mark.parametrize("size", [10**9, 2**62])
def test_large_sizes(size: int):
    order = KeyedPermutation(size, 1)
    positions = np.unique(np.random.default_rng(0).integers(0, size, 20000))
    images = order(positions)
    assert images.min() >= 0 and images.max() < size
    assert len(np.unique(images)) == len(positions)
    # Neither the order nor the neighbourhood of positions survives: the rank correlation is that of chance.
    assert abs(np.corrcoef(positions.astype(float), images.astype(float))[0, 1]) < 4 / np.sqrt(len(positions))


def test_every_permutation_of_three_comes_about_equally_often():
    keys = 600
    counts = Counter(tuple(whole(KeyedPermutation(3, key))) for key in range(keys))
    expected = keys / 6
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == 6
    assert statistic < 20.5  # chi-squared with 5 degrees of freedom: 99.9 %


def test_positions_land_uniformly():
    counts = np.zeros((20, 20))
    for epoch in range(400):
        counts[np.arange(20), whole(sample_order(20, 0, epoch))] += 1
    statistic = ((counts - 20) ** 2 / 20).sum()
    assert statistic < 361 + 4 * np.sqrt(2 * 361)  # 19 x 19 degrees of freedom, mean and four deviations


def test_epochs_and_seeds_give_different_orders():
    orders = {tuple(whole(sample_order(50, seed, epoch))) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert whole(sample_order(50, 2, 3)) == whole(sample_order(50, 2, 3))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"^size: expected an integer in \[1, 2\*\*62\], got 0"):
        sample_order(0, 0, 0)
    with pytest.raises(ValueError, match=r"^key: expected .* got -1"):
        KeyedPermutation(3, -1)
    with pytest.raises(IndexError, match=r"^positions: expected values in \[0, 3\), got 1 to 3"):
        KeyedPermutation(3, 0)(np.array([1, 3]))
