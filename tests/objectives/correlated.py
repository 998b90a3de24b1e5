"""Pairs of Gaussian variables whose mutual information is known: −½ log(1 − ρ²) a dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CorrelatedGaussians:
    """Standard normal x and z of `dimensions` numbers, which correlate with `correlation` in each."""

    dimensions: int
    correlation: float

    @property
    def information(self) -> float:
        """Their mutual information in nats."""
        return -0.5 * self.dimensions * math.log(1 - self.correlation**2)

    @property
    def club(self) -> float:
        """The mean of CLUB with the true conditional density: ρ² / (1 − ρ²) a dimension."""
        return self.dimensions * self.correlation**2 / (1 - self.correlation**2)

    def sample(self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """x and z, [2, count, dimensions]."""
        x, noise = torch.randn(2, count, self.dimensions, generator=generator, dtype=dtype)
        return torch.stack([x, self.correlation * x + math.sqrt(1 - self.correlation**2) * noise])

    def log_likelihoods(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(zᵢ|xₖ), [count, count]."""
        conditional = torch.distributions.Normal(self.correlation * x, math.sqrt(1 - self.correlation**2))
        return conditional.log_prob(z.unsqueeze(1)).sum(-1)

    def log_marginal(self, z: Tensor) -> Tensor:
        """log p(zᵢ), [count]."""
        return torch.distributions.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1)
