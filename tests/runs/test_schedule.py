"""The learning rate as a function of the step."""

import math

import pytest

from splatlearn.runs.schedule import CosineSchedule


def test_warms_up_linearly_and_ends_at_the_minimum() -> None:
    schedule = CosineSchedule(peak=1.0, warmup=10, total=110, minimum=0.1)
    assert [schedule(step) for step in (0, 5, 10)] == pytest.approx([0.0, 0.5, 1.0])
    assert schedule(60) == pytest.approx(0.55)
    assert schedule(110) == pytest.approx(0.1)
    assert schedule(35) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_no_warm_up() -> None:
    assert CosineSchedule(peak=2.0, warmup=0.0, total=4)(0) == 2.0


def test_after_its_end_it_stays_at_the_minimum() -> None:
    schedule = CosineSchedule(peak=1.0, warmup=2, total=6, minimum=0.25)
    assert {schedule(step) for step in (6, 7, 1000)} == {0.25}


def test_a_warm_up_of_all_steps() -> None:
    schedule = CosineSchedule(peak=1.0, warmup=4, total=4)
    assert [schedule(step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
