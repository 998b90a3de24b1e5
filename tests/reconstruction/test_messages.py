"""Sentences of a run about one thing and about several."""

from __future__ import annotations

import pytest

from splatlearn.cli.evaluate_scene import shown_depth
from splatlearn.evaluation.views.depths import DepthScore
from splatlearn.reconstruction.running import messages


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (messages.cleaned(60, 1), "step 60: 1 floater was removed"),
        (messages.cleaned(90, 1200), "step 90: 1,200 floaters were removed"),
        (messages.removed(3, 1), "step 3: 1 Gaussian was not finite and was removed"),
        (messages.removed(3, 2), "step 3: 2 Gaussians were not finite and were removed"),
    ],
)
def test_nouns_and_verbs_agree_with_the_number(said: str, wanted: str) -> None:
    assert said == wanted


def test_open_places_of_a_depth_are_a_percentage_like_its_error() -> None:
    assert shown_depth(DepthScore(0.22, 0.022, 0.97, 100)) == "0.22 (2.2 %, 3 % not covered)"
    assert shown_depth(DepthScore(0.22, 0.022, 0.995, 100)) == "0.22 (2.2 %)"
