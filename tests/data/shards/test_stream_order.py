"""The order of a stream of blocks: every sample once, few blocks at a time, whoever reads it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatlearn.data.shards.stream_order import StreamShape, WindowedOrder


def order(sizes: list[int], epoch: int = 0, **shape: int) -> WindowedOrder:
    return WindowedOrder(np.array(sizes, dtype=np.int64), 5, epoch, StreamShape(**shape))


def whole(stream: WindowedOrder) -> list[int]:
    return stream(np.arange(len(stream))).tolist()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    window=st.integers(1, 200),
    lanes=st.integers(1, 12),
    run=st.integers(1, 9),
    epoch=st.integers(0, 2**64 - 1),
)
def test_every_sample_once(sizes: list[int], window: int, lanes: int, run: int, epoch: int):
    stream = order(sizes, epoch, shuffle_window=window, lanes=lanes, run=run)
    assert sorted(whole(stream)) == list(range(sum(sizes)))


def test_positions_map_one_by_one_as_all_at_once():
    stream = order([7, 30, 1, 12, 12, 9], shuffle_window=20, lanes=3, run=4)
    expected = whole(stream)
    assert [int(stream(np.array([position]))[0]) for position in range(71)] == expected


def test_epochs_and_seeds_differ():
    sizes = [10] * 20
    assert len({tuple(whole(order(sizes, epoch))) for epoch in range(5)}) == 5
    assert whole(order(sizes, 3)) == whole(order(sizes, 3))
    other = WindowedOrder(np.array(sizes), 6, 0, StreamShape())
    assert whole(other) != whole(order(sizes, 0))


def test_a_lane_reads_one_window_after_the_other():
    sizes, lanes, run = [50] * 64, 4, 8
    stream = order(sizes, shuffle_window=400, lanes=lanes, run=run)
    assert stream.blocks_per_window == 2
    blocks = np.array(whole(stream)).reshape(-1, lanes, run) // 50
    for lane in range(lanes):
        seen = blocks[:, lane].ravel()
        assert len(set(seen)) == 16
        # Each block's samples lie within the two windows' length that it takes to read a window of 100.
        spans = [np.ptp(np.flatnonzero(seen == block)) for block in set(seen)]
        assert 50 <= max(spans) < 100
    shared = [set(blocks[:, a].ravel()) & set(blocks[:, b].ravel()) for a in range(lanes) for b in range(a)]
    assert not any(shared)


def test_samples_of_a_window_are_mixed():
    stream = order([1000, 1000], shuffle_window=2000, lanes=1, run=1)
    from_first = np.array(whole(stream)) < 1000
    # The share of the first block among the first half is that of drawing without replacement, to four deviations.
    assert abs(from_first[:1000].mean() - 0.5) < 4 * np.sqrt(0.25 / 1000 / 2)
    assert Counter(np.diff(from_first[:1000].astype(int)).tolist())[0] < 600


@pytest.mark.parametrize("position", [0, 16, 992, 2000])
def test_blocks_are_announced_before_they_are_needed(position: int):
    stream = order([25] * 100, shuffle_window=100, lanes=4, run=16)
    now = np.arange(position, position + 16)
    announced = stream.blocks(now)
    assert set((stream(now) // 25).tolist()) <= set(announced)
    assert len(set(announced)) == len(announced) <= 2 + 2
    later = now + 64  # the same lane's next run
    assert set((stream(later) // 25).tolist()) <= set(announced) | set(stream.blocks(later))


def test_everything_a_lane_reads_was_announced_a_window_ahead():
    stream = order([25] * 100, shuffle_window=100, lanes=4, run=5)
    known: list[set[int]] = [set() for _ in range(4)]
    for position in range(0, 2500, 5):
        positions = np.arange(position, position + 5)
        lane = position // 5 % 4
        needed = set((stream(positions) // 25).tolist())
        if known[lane]:
            assert needed <= known[lane]
        known[lane] |= set(stream.blocks(positions))


@pytest.mark.parametrize(("processes", "batch"), [(1, 64), (2, 32), (4, 16), (8, 8), (1, 16), (3, 10)])
def test_the_order_does_not_know_of_processes_and_batches(processes: int, batch: int):
    stream = order([33] * 30, shuffle_window=200, lanes=8, run=8)
    steps = len(stream) // (processes * batch)
    dealt = [
        stream(np.arange((step * processes + process) * batch, (step * processes + process + 1) * batch)).tolist()
        for step in range(steps)
        for process in range(processes)
    ]
    assert sum(dealt, []) == whole(stream)[: steps * processes * batch]


def test_processes_and_workers_that_fit_read_no_block_of_another():
    stream = order([100] * 512, shuffle_window=6400, lanes=64, run=16)
    processes, workers, batch = 4, 4, 64
    steps = len(stream) // (processes * batch)
    readers: dict[int, set[tuple[int, int]]] = {}
    for step in range(steps):
        for process in range(processes):
            start = (step * processes + process) * batch
            for block in set((stream(np.arange(start, start + batch)) // 100).tolist()):
                readers.setdefault(block, set()).add((process, step % workers))
    assert {len(each) for each in readers.values()} == {1}


def test_a_thousand_million_samples_for_four_thousand_processes():
    sizes = np.full(10**5, 10**4, dtype=np.int64)
    sizes[::7] -= 1
    sizes[1::7] += 1
    stream = WindowedOrder(sizes, 1, 2**63, StreamShape(shuffle_window=10**6, lanes=4096, run=16))
    size = len(stream)
    assert size == sizes.sum()
    positions = np.unique(np.random.default_rng(0).integers(0, size, 3000))
    indices = stream(positions)
    assert indices.min() >= 0 and indices.max() < size
    assert len(np.unique(indices)) == len(positions)
    # A step's first and last process; the epoch's last sample too.
    assert len(np.unique(stream(np.array([0, 4095 * 16, size - 1])))) == 3


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="^lanes: expected a positive number of samples or lanes, got 0"):
        StreamShape(lanes=0)
    with pytest.raises(ValueError, match="^sizes: expected one or more blocks of at least one sample"):
        order([3, 0])
    with pytest.raises(IndexError, match=r"^positions: expected values in \[0, 3\), got 0 to 3"):
        order([3])(np.array([0, 3]))
