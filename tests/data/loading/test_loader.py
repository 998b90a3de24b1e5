"""Pre-training batches: their order, their randomness and what happens to unreadable images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.pictures import array, save, truncated_jpeg
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import (
    Batch,
    ImageList,
    PretrainingDataset,
    PretrainingLoader,
    RandomResizedCrop,
    Sample,
    open_source,
    sample_order,
)
from splatlearn.images import DataError, UnreadableImage

CROP = RandomResizedCrop(8, 8)


class Damaged:
    """Numbered pictures, some of which cannot be read."""

    description = "damaged pictures"
    class_names = None

    def __init__(self, size: int, bad: Iterable[int] = ()) -> None:
        self.size = size
        self.bad = frozenset(bad)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int, /) -> Sample:
        if index in self.bad:
            raise UnreadableImage(f"{index}.jpg", "broken")
        return Sample(Image.fromarray(array(index)), f"{index}.jpg", None)


def dataset(size: int = 20, bad: Iterable[int] = (), seed: int = 3) -> PretrainingDataset:
    return PretrainingDataset(Damaged(size, bad), CROP, patches=4, seed=seed)


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.noise, b.noise)
        assert torch.equal(a.indices, b.indices)
        assert (a.unreadable, a.enlarged) == (b.unreadable, b.enlarged)


def test_example_is_a_function_of_epoch_and_index():
    data = dataset()
    example = data[2, 5]
    np.testing.assert_array_equal(example.image, CROP(Image.fromarray(array(5)), generator(3, 2, 5, Purpose.CROP)))
    np.testing.assert_array_equal(example.noise, generator(3, 2, 5, Purpose.MASK).random(4, dtype=np.float32))
    assert example.index == 5
    assert not np.array_equal(example.noise, data[3, 5].noise)
    assert not np.array_equal(example.noise, data[2, 6].noise)


def test_batches_follow_the_order_of_the_epoch():
    loader = PretrainingLoader(dataset(20), batch_size=6)
    batches = list(loader.batches(epoch=4))
    assert len(batches) == loader.steps_per_epoch == 3
    expected = sample_order(20, 3, 4)(np.arange(18))
    np.testing.assert_array_equal(torch.cat([batch.indices for batch in batches]).numpy(), expected)
    batch = batches[0]
    assert (batch.images.shape, batch.images.dtype) == ((6, 3, 8, 8), torch.uint8)
    assert (batch.noise.shape, batch.noise.dtype) == ((6, 4), torch.float32)
    assert len(batch) == 6


@pytest.mark.parametrize("first_step", [0, 1, 2, 3])
def test_starting_at_a_step_gives_the_rest_of_the_epoch(first_step: int):
    loader = PretrainingLoader(dataset(20), batch_size=6)
    assert_equal(list(loader.batches(1, first_step)), list(loader.batches(1))[first_step:])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(workers: int):
    data = dataset(21, bad=[3, 4])
    alone = list(PretrainingLoader(data, 4).batches(2, epochs=2))
    assert_equal(alone, list(PretrainingLoader(data, 4, workers=workers).batches(2, epochs=2)))


def test_several_epochs_at_once_are_the_epochs_one_by_one():
    loader = PretrainingLoader(dataset(9), batch_size=4)
    one_by_one = [*loader.batches(5, first_step=1), *loader.batches(6), *loader.batches(7)]
    assert_equal(list(loader.batches(5, first_step=1, epochs=3)), one_by_one)


def test_processes_share_every_step():
    data = dataset(24)
    whole = list(PretrainingLoader(data, batch_size=6).batches(0))
    parts = [list(PretrainingLoader(data, 3, process=process, processes=2).batches(0)) for process in range(2)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.indices, torch.cat([part[step].indices for part in parts]))
        assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(PretrainingLoader(dataset(8), 4).batches(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_unreadable_samples_are_replaced_by_the_next_and_nothing_else_moves():
    whole, damaged = dataset(20), dataset(20, bad=[7, 8, 19])
    for index in set(range(20)) - {7, 8, 19}:
        np.testing.assert_array_equal(whole[0, index].image, damaged[0, index].image)
    replaced = damaged[0, 7]
    np.testing.assert_array_equal(replaced.image, CROP(Image.fromarray(array(9)), generator(3, 0, 7, Purpose.CROP)))
    np.testing.assert_array_equal(replaced.noise, whole[0, 7].noise)
    assert replaced.index == 7
    assert replaced.unreadable == (("7.jpg", "broken"), ("8.jpg", "broken"))
    np.testing.assert_array_equal(
        damaged[0, 19].image, CROP(Image.fromarray(array(0)), generator(3, 0, 19, Purpose.CROP))
    )


def test_a_batch_reports_what_was_unreadable_and_enlarged(tmp_path: Path):
    for seed in range(5):
        save(tmp_path / f"{seed}.png", seed)
    save(tmp_path / "small.png", 9, height=7, width=30)
    (tmp_path / "broken.jpg").write_bytes(truncated_jpeg())
    loader = PretrainingLoader(PretrainingDataset(open_source(tmp_path), CROP, 4, 0), batch_size=7)
    (batch,) = loader.batches(0)
    ((name, reason),) = batch.unreadable
    assert name == "broken.jpg" and reason.startswith("image file is truncated")
    assert set(batch.enlarged) == {"small.png"}


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_unreadable_samples_is_an_error_in_one_line(workers: int):
    loader = PretrainingLoader(dataset(300, bad=range(300)), batch_size=2, workers=workers)
    with pytest.raises(
        DataError, match="^data: .* damaged pictures, got 100 unreadable ones in a row, the first"
    ) as caught:
        next(loader.batches(0))
    assert "\n" not in str(caught.value)


def test_every_sample_of_a_small_source_is_tried_once():
    with pytest.raises(DataError, match="got 3 unreadable ones in a row"):
        dataset(3, bad=range(3))[0, 1]


def test_images_in_memory_work_too():
    source = ImageList([array(seed) for seed in range(4)], list("abcd"))
    (batch,) = PretrainingLoader(PretrainingDataset(source, CROP, 4, 0), 4).batches(0)
    assert sorted(batch.indices.tolist()) == [0, 1, 2, 3]


def test_an_abandoned_epoch_ends_its_workers():
    batches = PretrainingLoader(dataset(20), 2, workers=2).batches(0)
    assert len(next(batches)) == 2
    del batches
    import multiprocessing

    assert multiprocessing.active_children() == []


def test_too_few_samples_for_a_step():
    with pytest.raises(
        DataError, match=r"at most the 20 samples of damaged .* got 24 \(12 in each of 2 processes\); choose"
    ):
        PretrainingLoader(dataset(20), batch_size=12, processes=2)


def test_errors_name_the_argument():
    loader = PretrainingLoader(dataset(20), batch_size=6)
    with pytest.raises(ValueError, match=r"^first_step: expected a step in \[0, 3\], got 4"):
        loader.batches(0, first_step=4)
    with pytest.raises(
        ValueError, match="^epoch, epochs: expected epoch of at least 0 and epochs of at least 1, got -1 and 1"
    ):
        loader.batches(-1)
    with pytest.raises(ValueError, match="^batch_size: expected a positive number, got 0"):
        PretrainingLoader(dataset(), 0)
    with pytest.raises(ValueError, match="^workers: expected 0 or more"):
        PretrainingLoader(dataset(), 1, workers=-1)
    with pytest.raises(ValueError, match=r"^process: expected a number in \[0, 2\), got 2"):
        PretrainingLoader(dataset(), 1, process=2, processes=2)
    with pytest.raises(ValueError, match="^patches: expected a positive number of patches, got 0"):
        PretrainingDataset(Damaged(3), CROP, 0, 0)
    with pytest.raises(ValueError, match="^seed: expected an integer"):
        PretrainingDataset(Damaged(3), CROP, 1, -1)
