"""Keyed permutations: bijective, different by key, in constant memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from splatlearn.data import (
    KeyedPermutation,
    PretrainingDataset,
    PretrainingLoader,
    RandomResizedCrop,
    Sample,
    sample_order,
)
from splatlearn.data.order import _hash


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


def inverse(order: KeyedPermutation, indices: np.ndarray) -> np.ndarray:
    """The positions of indices: the rounds of the network backwards, and back along the cycles that leave the range."""
    values = network_backwards(order, indices.astype(np.uint64))
    outside = np.flatnonzero(values >= np.uint64(order.size))
    while outside.size:
        values[outside] = network_backwards(order, values[outside])
        outside = outside[values[outside] >= np.uint64(order.size)]
    return values.astype(np.int64)


def network_backwards(order: KeyedPermutation, values: np.ndarray) -> np.ndarray:
    left, right = values >> order._half, values & order._low
    for key in order._round_keys[::-1]:
        left, right = right ^ (_hash(left ^ key) & order._low), left
    return (left << order._half) | right


@pytest.mark.parametrize("size", [10**9, 10**9 + 7, 2**30, 2**30 + 1, 999])
@pytest.mark.parametrize("epoch", [0, 1, 2**64 - 1])
def test_a_thousand_million_samples_each_once(size: int, epoch: int):
    # A map with an inverse on both sides is a bijection; it is tried at samples of both.
    order = sample_order(size, 7, epoch)
    numbers = np.random.default_rng(epoch % 97).integers(0, size, 4000)
    np.testing.assert_array_equal(inverse(order, order(numbers)), numbers)
    np.testing.assert_array_equal(order(inverse(order, numbers)), numbers)


@pytest.mark.parametrize(("size", "processes", "batch"), [(10**9, 4096, 16), (10**9 + 3, 4096, 64), (9973, 7, 5)])
def test_processes_share_an_epoch_without_gap_or_overlap(size: int, processes: int, batch: int):
    loaders = [loader(size, batch, process, processes) for process in (0, 1, processes - 1)]
    steps = loaders[0].steps_per_epoch
    assert steps == size // (batch * processes)
    # A process's share of a step starts where that of the process before ends, and step follows step.
    for step in (0, 1, steps // 2, steps - 1):
        shares = [each._positions(step) for each in loaders]
        assert shares[0][0] == step * processes * batch
        assert shares[1][0] == shares[0][-1] + 1
        assert shares[-1][-1] == (step + 1) * processes * batch - 1 < size
        expected = sample_order(size, 3, 5)(shares[1])
        assert loaders[1].indices(5, step) == expected.tolist()


@pytest.mark.parametrize(("size", "processes", "batch"), [(9973, 7, 5), (1001, 13, 3), (4096, 64, 2)])
def test_every_sample_of_an_epoch_goes_to_one_process(size: int, processes: int, batch: int):
    loaders = [loader(size, batch, process, processes) for process in range(processes)]
    for epoch in (0, 3):
        seen = [
            index for each in loaders for step in range(each.steps_per_epoch) for index in each.indices(epoch, step)
        ]
        assert len(seen) == len(set(seen)) == size // (batch * processes) * batch * processes


def test_going_on_in_an_epoch_of_a_thousand_million_is_arithmetic():
    whole = loader(10**9, 16, 17, 4096)
    late = whole.steps_per_epoch - 2
    went_on = [batch.indices.tolist() for batch in whole.batches(9, first_step=late)]
    assert went_on == [whole.indices(9, late), whole.indices(9, late + 1)]


def test_memory_does_not_grow_with_samples():
    def peak(size: int) -> int:
        tracemalloc.start()
        loader(size, 16, 5, 16).indices(2, 3)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10**4)
    assert peak(10**9) < 2 * peak(10**4) < 10**6


class Counted:
    """A thousand million pictures that are one."""

    description = "many pictures"
    class_names = None

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int, /) -> Sample:
        return Sample(Image.new("RGB", (4, 4)), str(index), None)


def loader(size: int, batch: int, process: int, processes: int) -> PretrainingLoader:
    dataset = PretrainingDataset(Counted(size), RandomResizedCrop(2, 2), patches=1, seed=3)
    return PretrainingLoader(dataset, batch, process=process, processes=processes)
