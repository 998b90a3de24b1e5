"""Batches on their way from workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.loading.test_loader import assert_equal, dataset
from splatlearn.data import Batch, PretrainingLoader
from splatlearn.data.loading import transport
from splatlearn.data.loading.transport import Slots, pack, unpack


def batch(images: np.ndarray, value: int = 7) -> Batch:
    images.fill(value)
    count = len(images)
    pixels = torch.from_numpy(images)
    return Batch(pixels, torch.rand(count, 6), torch.arange(count), (("a.jpg", "broken"),), ("b.jpg",))


def test_a_slot_is_free_when_no_view_of_its_images_is_left():
    slots = Slots(2, 2 * 3 * 4 * 5)
    assert (slots.take(), slots.take(), slots.take()) == (0, 1, None)
    sent = batch(slots.array(1, (2, 3, 4, 5)))
    parcel = pack(sent, 1)
    assert "images" not in parcel.contents
    received = unpack(parcel, slots)
    assert_equal([received], [sent])
    view = received.images[1:].flatten()
    del received
    assert not slots.free and view.eq(7).all()
    del view
    assert list(slots.free) == [1]


def test_without_a_slot_images_take_the_pipe():
    slots = Slots(1, 2 * 3 * 4 * 5)
    slots.memory.zero_()
    sent = batch(slots.array(None, (2, 3, 4, 5)))
    parcel = pack(sent, None)
    assert parcel.contents["images"].shape == (2, 3, 4, 5)
    assert_equal([unpack(parcel, slots)], [sent])
    assert not slots.memory.any()


def test_a_batch_may_be_smaller_than_its_slot():
    slots = Slots(1, 1000)
    sent = batch(slots.array(0, (1, 3, 4, 5)))
    assert_equal([unpack(pack(sent, 0), slots)], [sent])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep", [1, 100])
def test_batches_that_are_kept_are_not_overwritten(workers: int, keep: int, monkeypatch: pytest.MonkeyPatch):
    ways = []
    monkeypatch.setattr(
        "splatlearn.data.loading.loader.unpack",
        lambda parcel, slots: (ways.append(parcel.slot), unpack(parcel, slots))[1],
    )
    data = dataset(40)
    kept, copies = [], []
    for each in PretrainingLoader(data, 2, workers=workers).batches(0, epochs=2):
        kept = [*kept, each][-keep:]
        copies.append(replace(each, images=each.images.clone()))
    expected = list(PretrainingLoader(data, 2).batches(0, epochs=2))
    assert_equal(copies, expected)
    assert_equal(kept, expected[-keep:])
    # A loop that lets batches go never runs out of slots; whoever keeps all of them does.
    assert (None in ways) == (keep == 100)


def test_without_shared_memory_the_batches_are_the_same(monkeypatch: pytest.MonkeyPatch):
    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory")

    monkeypatch.setattr(transport.torch.Tensor, "share_memory_", refuse)
    data = dataset(20, bad=[3])
    assert Slots(3, 8).take() is None
    assert_equal(list(PretrainingLoader(data, 4, workers=1).batches(0)), list(PretrainingLoader(data, 4).batches(0)))
