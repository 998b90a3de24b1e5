"""Batches on their way from workers."""

from __future__ import annotations

import pytest
import torch

from data.test_loader import assert_equal, dataset
from splatlearn.data import Batch, PretrainingLoader, transport
from splatlearn.data.transport import Slots, pack, unpack


def batch(count: int = 2, value: int = 7) -> Batch:
    images = torch.full((count, 3, 4, 5), value, dtype=torch.uint8)
    return Batch(images, torch.rand(count, 6), torch.arange(count), (("a.jpg", "broken"),), ("b.jpg",))


def test_images_go_through_a_slot_and_the_batch_stays_when_it_is_written_again():
    slots = Slots(2, 2 * 3 * 4 * 5)
    sent = batch()
    parcel = pack(sent, slots, 1)
    assert "images" not in parcel.contents
    assert slots.memory[1].eq(7).all()
    received = unpack(parcel, slots, pin=False)
    pack(batch(value=9), slots, 1)
    assert_equal([received], [sent])


@pytest.mark.parametrize(("size", "slot"), [(3 * 4 * 5, 0), (2 * 3 * 4 * 5, None)], ids=["too small", "none free"])
def test_without_a_slot_images_take_the_pipe(size: int, slot: int | None):
    slots = Slots(1, size)
    slots.memory.zero_()
    sent = batch()
    parcel = pack(sent, slots, slot)
    assert parcel.slot is None and not slots.memory.any()
    assert_equal([unpack(parcel, slots, pin=False)], [sent])


def test_a_batch_may_be_smaller_than_its_slot():
    slots = Slots(1, 1000)
    sent = batch(1)
    assert_equal([unpack(pack(sent, slots, 0), slots, pin=False)], [sent])


@pytest.mark.parametrize("workers", [1, 2])
def test_every_batch_has_a_slot_and_none_is_overwritten(workers: int, monkeypatch: pytest.MonkeyPatch):
    parcels = []
    monkeypatch.setattr(
        "splatlearn.data.loader.unpack", lambda parcel, *rest: (parcels.append(parcel), unpack(parcel, *rest))[1]
    )
    data = dataset(40)
    held = list(PretrainingLoader(data, 2, workers=workers).batches(0, epochs=2))
    assert_equal(held, list(PretrainingLoader(data, 2).batches(0, epochs=2)))
    assert [parcel.slot for parcel in parcels] == [number % (2 * workers + 1) for number in range(40)]


def test_without_shared_memory_the_batches_are_the_same(monkeypatch: pytest.MonkeyPatch):
    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory")

    monkeypatch.setattr(transport.torch.Tensor, "share_memory_", refuse)
    data = dataset(20, bad=[3])
    assert len(Slots(3, 8)) == 0
    assert_equal(list(PretrainingLoader(data, 4, workers=1).batches(0)), list(PretrainingLoader(data, 4).batches(0)))
