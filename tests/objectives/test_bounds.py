"""The bounds against mutual information in closed form, with the true densities."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from objectives.correlated import CorrelatedGaussians
from splatlearn.objectives import club, contrastive_loss, donsker_varadhan, leave_one_out

PAIRS = [CorrelatedGaussians(d, rho) for d in (1, 4, 16) for rho in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)]
SAMPLES, DRAWS = 300, 10
WITHIN_REACH = math.log(SAMPLES) - 3.0
"""Bounds that look at the rarest pairs come near information up to here, with so many samples."""


@cache
def estimates(pair: CorrelatedGaussians) -> dict[str, tuple[float, float]]:
    """Mean and standard error of every bound, with the true densities."""
    generator = torch.Generator().manual_seed(0)
    values: dict[str, list[Tensor]] = {"info_nce": [], "club": [], "leave_one_out": [], "donsker_varadhan": []}
    for _ in range(DRAWS):
        x, z = pair.sample(SAMPLES, generator, torch.float64)
        likelihoods = pair.log_likelihoods(x, z)
        scores = likelihoods - pair.log_marginal(z).unsqueeze(1)
        values["info_nce"].append(math.log(SAMPLES) - contrastive_loss(scores))
        values["club"].append(club(likelihoods))
        values["leave_one_out"].append(leave_one_out(likelihoods))
        values["donsker_varadhan"].append(donsker_varadhan(*own_and_others(scores)))
    drawn = {name: torch.stack(each) for name, each in values.items()}
    return {name: (each.mean().item(), each.std().item() / DRAWS**0.5 + 1e-12) for name, each in drawn.items()}


@pytest.mark.parametrize(
    "pair",
    [
        pair if pair.correlation in (0.0, 0.5, 0.8, 0.95) else pytest.param(pair, marks=pytest.mark.large)
        for pair in PAIRS
    ],
    ids=str,
)
class TestKnownInformation:
    def test_info_nce_is_below_and_near_where_the_batch_allows(self, pair: CorrelatedGaussians) -> None:
        mean, error = estimates(pair)["info_nce"]
        assert mean <= min(pair.information + 4 * error, math.log(SAMPLES))
        if pair.information < WITHIN_REACH:
            assert mean >= pair.information - 0.15 - 4 * error

    def test_club_is_above_by_what_its_closed_form_says(self, pair: CorrelatedGaussians) -> None:
        mean, error = estimates(pair)["club"]
        assert mean == pytest.approx(pair.club, abs=4 * error)
        assert mean >= pair.information - 4 * error

    def test_leave_one_out_is_above_and_below_club(self, pair: CorrelatedGaussians) -> None:
        mean, error = estimates(pair)["leave_one_out"]
        assert pair.information - 4 * error <= mean <= pair.club + 4 * error
        if pair.information < WITHIN_REACH:
            assert mean <= pair.information + 0.15 + 4 * error


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.information < WITHIN_REACH], ids=str)
def test_donsker_varadhan_is_near_where_samples_suffice(pair: CorrelatedGaussians) -> None:
    mean, error = estimates(pair)["donsker_varadhan"]
    assert mean == pytest.approx(pair.information, abs=0.15 + 4 * error)


def own_and_others(scores: Tensor) -> tuple[Tensor, Tensor]:
    count = scores.shape[0]
    rows = torch.arange(count)
    return scores.diagonal(), torch.stack([scores[rows, (rows + shift) % count] for shift in range(1, count)])


def test_every_bound_is_what_its_formula_says(generator: torch.Generator) -> None:
    scores = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64)
    contrast = others = nearest = 0.0
    for matrix in scores.tolist():
        for i, row in enumerate(matrix):
            rest = [value for k, value in enumerate(row) if k != i]
            contrast -= (row[i] - math.log(sum(math.exp(value) for value in row))) / 10
            others += (row[i] - sum(rest) / 4) / 10
            nearest += (row[i] - math.log(sum(math.exp(value) for value in rest) / 4)) / 10
    assert contrastive_loss(scores).item() == pytest.approx(contrast, rel=1e-12)
    assert club(scores).item() == pytest.approx(others, rel=1e-12)
    assert leave_one_out(scores).item() == pytest.approx(nearest, rel=1e-12)
    mean = [sum(matrix[i][i] for i in range(5)) / 5 for matrix in scores.tolist()]
    mean_exp = [sum(math.exp(m[i][k]) for i in range(5) for k in range(5) if i != k) / 20 for m in scores.tolist()]
    expected = sum(own - math.log(rest) for own, rest in zip(mean, mean_exp, strict=True)) / 2
    parts = [own_and_others(matrix) for matrix in scores]
    value = donsker_varadhan(torch.stack([one for one, _ in parts]), torch.stack([rest for _, rest in parts]))
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_leave_one_out_never_exceeds_club(generator: torch.Generator) -> None:
    for scale in (0.1, 1.0, 30.0):
        scores = scale * torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
        assert leave_one_out(scores) <= club(scores) + 1e-12


def test_a_partner_further_down_the_candidates(generator: torch.Generator) -> None:
    scores = torch.randn(4, 6, 6, generator=generator)
    parts = [contrastive_loss(scores[:, first : first + 2], first) for first in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), contrastive_loss(scores))


def test_no_gradient_of_leave_one_out_is_lost_to_its_own_partner(generator: torch.Generator) -> None:
    scores = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(leave_one_out, (scores,))
    assert torch.autograd.gradcheck(club, (scores,))


def test_a_single_sample_has_nothing_to_be_compared_with() -> None:
    one = torch.zeros(2, 1, 1)
    with pytest.raises(
        ValueError, match="scores: expected at least 2 candidates per sample, got 1; .* batches of at le"
    ):
        contrastive_loss(one)
    for bound in (club, leave_one_out):
        with pytest.raises(ValueError, match="likelihoods: expected at least 2 samples, got 1; .* batches of at least"):
            bound(one)
