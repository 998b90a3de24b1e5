"""Gaussians as 14 numbers each: they show the same picture, whichever of its quaternions a rotation has."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians, random_sh
from splatlearn.core.attributes import ATTRIBUTES, NUMBERS, attributes_of, gaussians_of, placed
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.rendering import render


def test_the_attributes_fill_the_numbers_once() -> None:
    places = [index for place in ATTRIBUTES.values() for index in range(NUMBERS)[place]]
    assert places == list(range(NUMBERS))


@pytest.mark.parametrize("harmonics", [False, True])
def test_gaussians_of_attributes_look_the_same(generator: torch.Generator, harmonics: bool) -> None:
    made = random_sh(generator, 0, (), 30) if harmonics else random_gaussians(generator, (), 30)
    made = made.map(lambda each: each.double())
    if made.sh is not None:
        made = replace(made, sh=0.3 * made.sh)
    again = gaussians_of(attributes_of(made))
    pictures = [render(each, Camera.gmae(24, 32), "white", backend="torch").color for each in (made, again)]
    torch.testing.assert_close(*pictures, atol=1e-9, rtol=0)


def test_both_quaternions_of_a_rotation_are_one(generator: torch.Generator) -> None:
    made = random_gaussians(generator, (2,), 20)
    other = replace(made, quaternions=-3.0 * made.quaternions)
    found, same = attributes_of(made), attributes_of(other)
    torch.testing.assert_close(found, same)
    assert bool((found[..., 7] >= 0).all())
    torch.testing.assert_close(found[..., ATTRIBUTES["quaternions"]].norm(dim=-1), torch.ones(2, 20))


def test_higher_harmonics_are_left_out(generator: torch.Generator) -> None:
    made = random_sh(generator, 2, (), 8)
    assert torch.equal(attributes_of(made), attributes_of(made.with_degree(0)))


def test_other_colours_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="gaussians: expected 3 colour channels, got 5"):
        attributes_of(random_gaussians(generator, (), 4, 5))


def test_placed_sets_differ_from_the_set_by_a_similarity(generator: torch.Generator) -> None:
    made = random_gaussians(generator, (), 40).transformed(None, torch.tensor([5.0, -3.0, 40.0]), 7.0)
    found = placed(made)
    torch.testing.assert_close(found.means.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.means.norm(dim=1).max(), torch.tensor(1.0))
    ratio = torch.pdist(made.means) / torch.pdist(found.means)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)
    torch.testing.assert_close(made.scales / found.scales, ratio[0].expand(40, 3), rtol=1e-3, atol=0)
    again = placed(found)
    torch.testing.assert_close(again.means, found.means, atol=1e-5, rtol=0)


def test_a_set_of_one_place_is_only_moved() -> None:
    made = random_gaussians(torch.Generator().manual_seed(3), (), 1)
    found = placed(made)
    assert not found.means.any() and torch.equal(found.scales, made.scales)
