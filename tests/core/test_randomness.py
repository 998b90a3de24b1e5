"""Counter-based randomness: a function of its arguments, different for different ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from splatlearn.core.randomness import Purpose, Stream, generator


def test_the_same_arguments_give_the_same_numbers_in_any_order():
    first = generator(5, 2, 7, Purpose.CROP).random(4)
    generator(5, 2, 8, Purpose.CROP).random(100)
    np.testing.assert_array_equal(first, generator(5, 2, 7, Purpose.CROP).random(4))


def test_different_arguments_give_different_streams():
    # Swapped arguments are among them, which a sum or an exclusive or of arguments would confuse.
    values = (0, 1, 2, 2**63, 2**64 - 1)
    keys = list(itertools.product(values, values, values, Purpose))
    streams = {tuple(generator(*key).integers(0, 2**64, size=2, dtype=np.uint64).tolist()) for key in keys}
    assert len(streams) == len(keys)


def test_neighbouring_streams_look_uniform_and_uncorrelated():
    numbers = np.array([generator(0, 0, index, Purpose.MASK).random(8) for index in range(2000)])
    # Four standard errors of the mean of 16000 uniform numbers, and of a correlation of 2000 pairs.
    assert abs(numbers.mean() - 0.5) < 4 * np.sqrt(1 / 12 / numbers.size)
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 4 / np.sqrt(2000)


@pytest.mark.parametrize("name", ["seed", "epoch", "index"])
@pytest.mark.parametrize("value", [-1, 2**64])
def test_arguments_out_of_range_are_named(name: str, value: int):
    arguments = {"seed": 0, "epoch": 0, "index": 0, name: value}
    with pytest.raises(ValueError, match=rf"^{name}: expected an integer in \[0, 2\*\*64\), got {value}"):
        generator(arguments["seed"], arguments["epoch"], arguments["index"], Purpose.CROP)


def test_purposes_keep_their_numbers():
    # They are part of every stream: a run resumes only as long as they stay.
    assert [(purpose.name, purpose.value) for purpose in Purpose] == [
        ("ORDER", 0),
        ("CROP", 1),
        ("MASK", 2),
        ("NOISE", 3),
        ("SPLIT", 4),
        ("WINDOW", 5),
        ("FIT", 6),
    ]


def test_numbers_stay_what_they_are():
    numbers = generator(2**64 - 1, 3, 10, Purpose.CROP).integers(0, 2**64, size=2, dtype=np.uint64)
    bits = np.random.Philox(key=np.array([2**64 - 1, 1], np.uint64), counter=np.array([0, 10, 3, 0], np.uint64))
    np.testing.assert_array_equal(numbers, bits.random_raw(2))


def test_a_stream_is_moved_to_any_sample_and_gives_its_numbers():
    stream = Stream(7, Purpose.MASK)
    for epoch, index in ((0, 0), (3, 2**64 - 1), (3, 5), (0, 0)):
        key, counter = np.array([7, Purpose.MASK], np.uint64), np.array([0, index, epoch, 0], np.uint64)
        wanted = np.random.Generator(np.random.Philox(key=key, counter=counter))
        moved = stream.at(epoch, index)
        # Odd counts of 32-bit numbers leave half a word behind, which the next sample must not see.
        assert moved.random(3, dtype=np.float32).tolist() == wanted.random(3, dtype=np.float32).tolist()
        assert moved.integers(2**63, size=5).tolist() == wanted.integers(2**63, size=5).tolist()
    with pytest.raises(ValueError, match="^index: expected an integer in"):
        stream.at(0, 2**64)
