"""Sentences of a run about one thing and about several."""

from __future__ import annotations

import pytest

from splatlearn.cli.evaluate_scene import shown_alignment, shown_depth
from splatlearn.evaluation.views.depths import DepthScore
from splatlearn.evaluation.views.scores import SceneScores, ViewScore
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


def test_alignments_that_lower_scores_are_left_out_unless_exposures_were_fitted() -> None:
    better, worse = (SceneScores((ViewScore("a.png", 20.0, 0.8, 0.04, each, 0.79),)) for each in (21.5, 18.0))
    said = "after an affine alignment of each view's colours: {} dB, SSIM 0.790"
    assert shown_alignment(better, False) == shown_alignment(better, True) == said.format("21.50")
    assert shown_alignment(worse, False) == "" and shown_alignment(worse, True) == said.format("18.00")
    assert shown_alignment(SceneScores((ViewScore("a.png", 20.0, 0.8, 0.04),)), True) == ""
