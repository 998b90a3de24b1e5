"""Draws are functions of the seed, the step and their purpose."""

from __future__ import annotations

import math

import pytest
import torch

from splatlearn.core.errors import InputError
from splatlearn.fitting.draws import Draw, Draws

LIKE = torch.empty(0)


def test_draws_repeat_in_any_order_and_differ_by_seed_step_and_purpose() -> None:
    draws = Draws(3, 10)
    first = draws.uniforms(Draw.GROWTH, 5)
    draws.normals(Draw.NOISE, (1000,), LIKE)
    assert torch.equal(first, draws.uniforms(Draw.GROWTH, 5))
    others = [
        Draws(4, 10).uniforms(Draw.GROWTH, 5),
        Draws(3, 11).uniforms(Draw.GROWTH, 5),
        draws.uniforms(Draw.SPLIT, 5),
    ]
    assert not any(torch.equal(first, other) for other in others)


def test_more_of_a_draw_begins_with_less_of_it() -> None:
    draws = Draws(0, 1)
    assert torch.equal(draws.uniforms(Draw.COLORS, 100, 3)[:7], draws.uniforms(Draw.COLORS, 7, 3))


def test_purposes_keep_their_numbers() -> None:
    # They are part of every run, which resumes only as long as they stay.
    names = [
        "SPLIT",
        "RELOCATION",
        "GROWTH",
        "NOISE",
        "BACKGROUND",
        "SUBSET",
        "PLACES",
        "COLORS",
        "COLOR_GROWTH",
        "GRID",
    ]
    known = {name: index for index, name in enumerate(names)} | {"SHAKE": 20, "DISCS": 21}
    assert {each.name: each.value for each in Draw} == known


def test_normals_are_normal() -> None:
    numbers = Draws(1, 2).normals(Draw.NOISE, (50_000,), LIKE)
    assert numbers.dtype == torch.float32
    assert abs(float(numbers.mean())) < 5 / 50_000**0.5 and abs(float(numbers.var()) - 1) < 5 * (2 / 50_000) ** 0.5


def test_picks_follow_their_weights_and_leave_out_what_has_none() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0])
    picked = Draws(5, 1).picks(Draw.GROWTH, weights, 20_000)
    counts = torch.bincount(picked, minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(float(counts[1]) - 5_000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5
    for wrong, total in ([0.0, 0.0], "0.0"), ([], "0.0"), ([1.0, math.nan], "nan"), ([math.inf, 1.0], "inf"):
        message = f"^weights: expected finite numbers, at least one above 0, got {len(wrong)} with sum {total}$"
        with pytest.raises(InputError, match=message):
            Draws(5, 1).picks(Draw.GROWTH, torch.tensor(wrong), 1)


def test_a_subset_is_in_order_and_keeps_what_it_kept_when_more_are_wanted() -> None:
    draws = Draws(2, 0)
    few, many = draws.subset(1000, 100), draws.subset(1000, 300)
    assert len(few) == 100 and bool((few.diff() > 0).all())
    assert set(few.tolist()) < set(many.tolist())
    assert draws.subset(5, 9).tolist() == [0, 1, 2, 3, 4]


def test_each_view_has_a_background_of_its_own() -> None:
    colors = Draws(2, 5).background(4)
    assert colors.shape == (4, 3) and colors.dtype == torch.float32
    assert len({tuple(each) for each in colors.tolist()}) == 4
    assert torch.equal(colors[:2], Draws(2, 5).background(2))
