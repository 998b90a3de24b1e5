"""Batches and the count of unreadable samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splatlearn.data import Example, UnreadableCounter
from splatlearn.data.loading.batch import collate
from splatlearn.images import DataError


def example(index: int, **reports: object) -> Example:
    image = np.full((3, 2, 2), index, dtype=np.uint8)
    return Example(image, np.full(4, index, dtype=np.float32), index, **reports)  # pyright: ignore[reportArgumentType]


def test_examples_are_stacked_and_their_reports_joined():
    batch = collate(
        [example(3, unreadable=(("a", "x"), ("b", "y")), enlarged="c"), example(1), example(2, enlarged="d")]
    )
    assert batch.indices.tolist() == [3, 1, 2]
    assert batch.images[:, 0, 0, 0].tolist() == [3, 1, 2]
    assert torch.equal(batch.noise[:, 0], torch.tensor([3.0, 1.0, 2.0]))
    assert batch.unreadable == (("a", "x"), ("b", "y"))
    assert batch.enlarged == ("c", "d")


def test_different_names_are_counted_once():
    counter = UnreadableCounter()
    assert counter.add([("a", "x"), ("b", "y"), ("a", "x")]) == [("a", "x"), ("b", "y")]
    assert counter.add([("b", "y"), ("c", "z")]) == [("c", "z")]
    assert len(counter) == 3
    assert counter.reasons == {"a": "x", "b": "y", "c": "z"}


def test_more_than_the_share_is_an_error_naming_the_first():
    counter = UnreadableCounter()
    counter.check(0.0, 0)
    counter.add([(f"{index}.jpg", "broken") for index in range(5)])
    counter.check(0.05, 100)
    with pytest.raises(
        DataError,
        match=r"^data: expected at most 5.0% .*, got 5 of 99 \(0.jpg: broken; 1.jpg: .*; 2.jpg: broken; ...\); repair",
    ):
        counter.check(0.05, 99)
