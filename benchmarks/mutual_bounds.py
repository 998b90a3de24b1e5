"""How near the bounds come to mutual information that is known: correlated Gaussians, −½ log(1 − ρ²) a dimension."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splatlearn.objectives import (
    club,
    contrastive_loss,
    create_estimator,
    donsker_varadhan,
    info_nce,
    leave_one_out,
)
from splatlearn.objectives.estimators import Estimator, LikelihoodEstimator, two_layers

SIGMAS = 4.0
"""An inequality is broken when it is missed by more than so many standard errors."""
NEAR = 0.1
"""Of the information, or nats: how far a bound may be from it where the samples allow it to be near."""
REACH = 3.0
"""Bounds that need rare pairs are asked to be near where information is this far below log of the samples, in nats."""

HEAD = f"{'dim':>4} {'rho':>5} {'I':>8}  {'densities':10} {'bound':16} {'mean':>9} {'error':>9} {'se':>7}  verdict"


@dataclass(frozen=True)
class BoundOptions:
    """Which Gaussians, and how much work is put into each."""

    dimensions: tuple[int, ...] = (1, 2, 4, 8, 16)
    correlations: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
    samples: int = 1024
    """In a batch that a bound is computed from."""
    draws: int = 16
    """Batches whose mean is reported."""
    steps: int = 1500
    """Of training, for bounds with networks."""
    hidden: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """One bound of one pair of variables; `kind` says whether it was made of the true densities or of networks."""

    dimensions: int
    correlation: float
    information: float
    bound: str
    kind: str
    mean: float
    standard_error: float
    verdict: str


@dataclass(frozen=True)
class Gaussians:
    """x and z, standard normal, with a correlation in each dimension."""

    dimensions: int
    correlation: float

    @property
    def information(self) -> float:
        """In nats."""
        return -0.5 * self.dimensions * math.log(1 - self.correlation**2)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """x and z, [2, count, dimensions]."""
        x, noise = torch.randn(2, count, self.dimensions, generator=generator)
        return torch.stack([x, self.correlation * x + math.sqrt(1 - self.correlation**2) * noise])

    def log_likelihoods(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p(zᵢ|xₖ) [count, count] and log p(zᵢ) [count]."""
        conditional = torch.distributions.Normal(self.correlation * x, math.sqrt(1 - self.correlation**2))
        marginal = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
        return conditional.log_prob(z.unsqueeze(1)).sum(-1), marginal.log_prob(z).sum(-1)


def bound_rows(options: BoundOptions) -> Iterator[Row]:
    """All bounds of all Gaussians, one after the other."""
    for dimensions in options.dimensions:
        for correlation in options.correlations:
            pair = Gaussians(dimensions, correlation)
            bounds = {**_true_bounds(pair, options), **_trained_bounds(pair, options)}
            for (kind, name), values in bounds.items():
                mean, error = values.mean().item(), values.std().item() / len(values) ** 0.5
                verdict = _verdict(name, mean, error, pair, options)
                yield Row(dimensions, correlation, pair.information, name, kind, mean, error, verdict)


def line(row: Row) -> str:
    """A row as text, below `HEAD`."""
    return (
        f"{row.dimensions:4d} {row.correlation:5.2f} {row.information:8.3f}  {row.kind:10} {row.bound:16} "
        f"{row.mean:9.3f} {row.mean - row.information:+9.3f} {row.standard_error:7.3f}  {row.verdict}"
    )


def _true_bounds(pair: Gaussians, options: BoundOptions) -> dict[tuple[str, str], Tensor]:
    def values(x: Tensor, z: Tensor) -> dict[str, Tensor]:
        likelihoods, marginal = pair.log_likelihoods(x, z)
        scores = likelihoods - marginal.unsqueeze(1)
        rows = torch.arange(options.samples)
        others = scores[rows, (rows + rows[1:, None]) % options.samples]
        return {
            "InfoNCE": math.log(options.samples) - contrastive_loss(scores),
            "MINE": donsker_varadhan(scores.diagonal(), others),
            "leave-one-out": leave_one_out(likelihoods),
            "CLUB": club(likelihoods),
        }

    return _draws("true", pair, options, values)


def _trained_bounds(pair: Gaussians, options: BoundOptions) -> dict[tuple[str, str], Tensor]:
    generator = torch.Generator().manual_seed(options.seed)
    sizes = (pair.dimensions, pair.dimensions)
    likelihood = create_estimator("club", sizes, options.hidden, generator)
    critic = create_estimator("mine", sizes, options.hidden, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        projector = two_layers(pair.dimensions, options.hidden, 32)
    assert isinstance(likelihood, LikelihoodEstimator)
    for estimator in (likelihood, critic):
        _train(estimator, pair, options, lambda batch, network=estimator: -network(*batch.unsqueeze(1)).fit)
    _train(projector, pair, options, lambda batch: info_nce(projector(batch)))

    def values(x: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {
            "InfoNCE": math.log(options.samples) - info_nce(projector(torch.stack([x, z]))),
            "MINE": critic(x[None], z[None]).bound,
            "leave-one-out": _bound(likelihood, leave_one_out, x, z),
            "CLUB": _bound(likelihood, club, x, z),
        }

    with torch.no_grad():
        return _draws("trained", pair, options, values)


def _bound(estimator: LikelihoodEstimator, bound: Callable[[Tensor], Tensor], x: Tensor, z: Tensor) -> Tensor:
    return bound(estimator.log_likelihoods(x[None], z[None]))


def _train(
    network: nn.Module | Estimator, pair: Gaussians, options: BoundOptions, loss: Callable[[Tensor], Tensor]
) -> None:
    generator = torch.Generator().manual_seed(options.seed + 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in range(options.steps):
        optimizer.zero_grad()
        loss(pair.sample(256, generator)).backward()
        optimizer.step()
        schedule.step()


def _draws(
    kind: str, pair: Gaussians, options: BoundOptions, values: Callable[[Tensor, Tensor], dict[str, Tensor]]
) -> dict[tuple[str, str], Tensor]:
    generator = torch.Generator().manual_seed(options.seed + 2)
    found = [values(*pair.sample(options.samples, generator)) for _ in range(options.draws)]
    return {(kind, name): torch.stack([each[name] for each in found]).double() for name in found[0]}


def _verdict(name: str, mean: float, error: float, pair: Gaussians, options: BoundOptions) -> str:
    """Whether a bound is on its side of the information, and near it where it can be."""
    slack = SIGMAS * error + 1e-5
    if name == "CLUB":
        expected = pair.dimensions * pair.correlation**2 / (1 - pair.correlation**2)
        as_expected = abs(mean - expected) <= NEAR * max(1.0, expected) + slack
        return "above, as its closed form says" if as_expected else "NOT its closed form"
    within = pair.information < math.log(options.samples) - REACH
    if name == "MINE" and not within:
        return "beyond the samples"
    if not _on_its_side(name, mean, pair, slack):
        return "WRONG side"
    near = abs(mean - pair.information) <= NEAR * max(1.0, pair.information) + slack
    return ("near" if near else "NOT near") if within else "on its side, beyond the samples"


def _on_its_side(name: str, mean: float, pair: Gaussians, slack: float) -> bool:
    if name == "leave-one-out":
        # Networks' likelihoods are not quite the true ones, which the bound presumes.
        return mean >= pair.information - slack - 0.02 * max(1.0, pair.information)
    return mean <= pair.information + slack + (0.02 * max(1.0, pair.information) if name == "MINE" else 0.0)
