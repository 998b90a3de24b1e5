"""Trained estimators against mutual information in closed form, and what they must not do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objectives.correlated import CorrelatedGaussians
from splatlearn.objectives import create_estimator, leave_one_out
from splatlearn.objectives.estimators import LOG_VARIANCE_LIMIT, Estimate, Estimator, EstimatorName, LikelihoodEstimator

NAMES: tuple[EstimatorName, ...] = ("club", "leave-one-out", "mine")


def trained(name: EstimatorName, pair: CorrelatedGaussians, steps: int = 250) -> Estimator:
    generator = torch.Generator().manual_seed(0)
    estimator = create_estimator(name, (pair.dimensions, pair.dimensions), hidden=32, generator=generator)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-estimate(estimator, pair, 192, generator).fit).backward()
        optimizer.step()
        schedule.step()
    return estimator


def estimate(estimator: nn.Module, pair: CorrelatedGaussians, count: int, generator: torch.Generator) -> Estimate:
    return estimator(*pair.sample(count, generator).unsqueeze(1))


def averages(estimator: nn.Module, pair: CorrelatedGaussians) -> tuple[float, float, float]:
    """Means of bound and fit on fresh samples, and the bound's standard error."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        estimates = [estimate(estimator, pair, 512, generator) for _ in range(16)]
    bounds, fits = (torch.stack([getattr(each, name) for each in estimates]) for name in ("bound", "fit"))
    return bounds.mean().item(), fits.mean().item(), bounds.std().item() / 4


@pytest.mark.parametrize(
    "pair", [CorrelatedGaussians(d, rho) for d, rho in ((1, 0.0), (1, 0.95), (4, 0.5), (16, 0.5))], ids=str
)
def test_a_converged_network_bounds_from_above(pair: CorrelatedGaussians) -> None:
    estimator = trained("club", pair)
    bound, fit, error = averages(estimator, pair)
    assert bound >= pair.information - 4 * error - 1e-3
    assert bound == pytest.approx(pair.club, rel=0.1, abs=4 * error + 0.02)
    # Against a standard normal marginal the fit is itself a lower bound, tight for the true conditional density.
    assert fit == pytest.approx(pair.information, rel=0.1, abs=0.05)
    assert isinstance(estimator, LikelihoodEstimator)
    estimator.bound = leave_one_out
    tighter, _, error = averages(estimator, pair)
    assert pair.information - 4 * error - 0.05 <= tighter <= bound


@pytest.mark.parametrize("pair", [CorrelatedGaussians(1, 0.9), CorrelatedGaussians(4, 0.5)], ids=str)
def test_mine_bounds_from_below(pair: CorrelatedGaussians) -> None:
    bound, fit, error = averages(trained("mine", pair), pair)
    assert fit == bound
    assert 0.85 * pair.information - 4 * error <= bound <= pair.information + 4 * error + 0.01


@pytest.mark.parametrize("name", NAMES)
def test_untrained_it_knows_nothing(name: EstimatorName, generator: torch.Generator) -> None:
    estimator = create_estimator(name, (5, 3), generator=generator)
    said = estimator(torch.randn(2, 6, 5, generator=generator), torch.randn(2, 6, 3, generator=generator))
    assert abs(said.bound.item()) < 1e-5 and abs(said.fit.item()) < 1e-5


def random_likelihood(sizes: tuple[int, int], generator: torch.Generator) -> LikelihoodEstimator:
    estimator = LikelihoodEstimator(sizes, 8, generator=generator)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return estimator


def test_likelihoods_are_those_of_a_normal_distribution(generator: torch.Generator) -> None:
    estimator = random_likelihood((4, 3), generator).double()
    inputs = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    latents = 100 + torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    deviations = (0.5 * LOG_VARIANCE_LIMIT * estimator.log_variance(inputs).tanh()).exp()
    normal = torch.distributions.Normal(estimator.mean(inputs).unsqueeze(1), deviations.unsqueeze(1))
    expected = normal.log_prob(latents.unsqueeze(2)).sum(-1)
    torch.testing.assert_close(estimator.log_likelihoods(inputs, latents), expected, rtol=1e-9, atol=1e-9)
    assert deviations.log().abs().max() <= 0.5 * LOG_VARIANCE_LIMIT


def test_fit_is_likelihood_beside_a_standard_normal(generator: torch.Generator) -> None:
    estimator = random_likelihood((4, 3), generator)
    inputs, latents = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 5, 3, generator=generator)
    own = estimator.log_likelihoods(inputs, latents).diagonal(dim1=1, dim2=2)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(latents).sum(-1)
    torch.testing.assert_close(estimator(inputs, latents).fit, (own - standard).mean())


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast_are_computed_in_float32(name: EstimatorName, generator: torch.Generator) -> None:
    estimator = create_estimator(name, (5, 3), generator=generator)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn(2, 6, 5, generator=generator).bfloat16()
    latents = torch.randn(2, 6, 3, generator=generator).bfloat16()
    expected = estimator(inputs.float(), latents.float())
    with torch.autocast("cpu", torch.bfloat16):
        said = estimator(inputs, latents)
    assert said.bound.dtype == torch.float32 and torch.equal(said.bound, expected.bound)
    assert torch.equal(said.fit, expected.fit)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_averaged_and_never_compared(name: EstimatorName, generator: torch.Generator) -> None:
    estimator = create_estimator(name, (5, 3), generator=generator)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    inputs, latents = torch.randn(3, 6, 5, generator=generator), torch.randn(3, 6, 3, generator=generator)
    each = [estimator(inputs[m : m + 1], latents[m : m + 1]).bound for m in range(3)]
    torch.testing.assert_close(estimator(inputs, latents).bound, torch.stack(each).mean())


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    one, other = (create_estimator("club", (4, 2), 8, torch.Generator().manual_seed(s)) for s in (0, 0))
    assert torch.equal(torch.rand(()), expected)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("no_shape_checks")
def test_errors() -> None:
    with pytest.raises(ValueError, match="estimator: expected one of club, leave-one-out, mine, got 'nwj'"):
        create_estimator("nwj", (2, 2))  # type: ignore[arg-type]
    for name in NAMES:
        with pytest.raises(ValueError, match="inputs: expected at least 2 images, got 1; use batches of at least 2"):
            create_estimator(name, (2, 2))(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2))
