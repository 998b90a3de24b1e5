"""A map over processes: in order, with a bounded number of jobs ahead."""

import pytest

from splatlearn.runs.processes import bounded_map


def test_no_more_jobs_are_made_than_are_needed_ahead():
    made: list[int] = []

    def numbers():
        for number in range(40):
            made.append(number)
            yield -number

    taken = bounded_map(abs, numbers(), 2, ahead=3)
    assert next(taken) == 0
    assert len(made) == 6
    assert list(taken) == list(range(1, 40))
    with pytest.raises(ValueError, match="processes: expected at least 1, got 0"):
        next(bounded_map(abs, [1], 0))
