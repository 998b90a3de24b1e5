"""Numbers that arguments take."""

import math

import numpy as np
import pytest

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_number, check_whole, evenly_spaced, half_cosine


@pytest.mark.parametrize("value", [1, 10, np.int64(3)])
def test_whole_numbers_in_their_range(value: int) -> None:
    check_whole("count", value, 1, 10)
    check_whole("count", value)


@pytest.mark.parametrize("value", [0, 11, 1.0, 1.5, "3", None, True, math.nan, [1], pytest.param(10**5000, id="huge")])
def test_what_is_no_whole_number_is_named(value: object) -> None:
    with pytest.raises(InputError, match=r"^count: expected a whole number of at least 1 and at most 10, got "):
        check_whole("count", value, 1, 10)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.25)])
def test_numbers_in_their_range(value: float) -> None:
    check_number("share", value, above=0, most=1)


@pytest.mark.parametrize("value", [0, 1.01, -1, math.nan, math.inf, -math.inf, "1", None, True, [0.5], np.zeros(2)])
def test_what_is_no_number_is_named(value: object) -> None:
    with pytest.raises(InputError, match=r"^share: expected a finite number at most 1|above 0") as error:
        check_number("share", value, above=0, most=1)
    assert "above 0" in str(error.value) and "at most 1" in str(error.value) and len(str(error.value)) < 160


def test_ends_that_belong_to_the_range_and_ends_that_do_not() -> None:
    check_number("x", 0, least=0, below=1)
    for value in (-1e-9, 1):
        with pytest.raises(InputError, match="x: expected a finite number of at least 0 and below 1"):
            check_number("x", value, least=0, below=1)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 32, 256])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 31, 32, 33, 257, 1000, 1_281_167])
def test_indices_at_equal_distances(length: int, count: int) -> None:
    expected = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()
    assert evenly_spaced(length, count) == expected


@pytest.mark.parametrize("total", [1, 7, 1000, 2.5])
def test_half_a_cosine_falls_from_1_to_0(total: float) -> None:
    assert half_cosine(0, total) == 1.0 and half_cosine(total, total) == 0.0
    assert half_cosine(total / 2, total) == pytest.approx(0.5) and half_cosine(total / 3, total) == pytest.approx(0.75)
    values = [half_cosine(each, total) for each in np.linspace(0, total, 50)]
    assert values == sorted(values, reverse=True)
    # Its halves mirror each other.
    np.testing.assert_allclose(np.add(values, values[::-1]), 1.0)
