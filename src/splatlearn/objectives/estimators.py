"""Networks that estimate the mutual information between the visible input of masks and their latents.

Letters in shapes: M masks, B images, X numbers of pooled input, D width of latents.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.models.heads.gaussian_numbers import at_least_float32
from splatlearn.models.nn.initial import initialize
from splatlearn.objectives.bounds import club, donsker_varadhan, leave_one_out
from splatlearn.objectives.choices import EstimatorName

LOG_VARIANCE_LIMIT = 3.0
"""Conditional log-variances lie in ±this. The usual ±1 of CLUB's code cannot follow a correlation above 0.8."""

SHUFFLES = 8
"""MINE compares an image with at most so many others."""

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator says of a batch, in nats, averaged over masks and images.

    - `bound`: on the mutual information; what the encoder minimises.
    - `fit`: what the estimator itself maximises: how much better it describes the batch than it did untrained.
    """

    bound: Float[Tensor, ""]
    fit: Float[Tensor, ""]


class Estimator(nn.Module, ABC):
    """A network that bounds the mutual information between inputs and latents, computed in at least float32."""

    def forward(self, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]) -> Estimate:
        """The estimate for pairs of inputs and latents; other images of the same mask make the unpaired ones.

        Raises InputError for a single image, which has no other to be compared with.
        """
        if inputs.shape[1] < 2:
            raise InputError(f"inputs: expected at least 2 images, got {inputs.shape[1]}; use batches of at least 2")
        with torch.autocast(inputs.device.type, enabled=False):
            return self.estimate(at_least_float32(inputs), at_least_float32(latents))

    @abstractmethod
    def estimate(self, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]) -> Estimate:
        """What `forward` returns."""


class LikelihoodEstimator(Estimator):
    """A diagonal Gaussian q(z|x), its mean and its log-variance from a network of two layers each, and a bound of it.

    Follows Cheng et al. 2020 (arXiv 2006.12013). q starts as a standard normal, whatever the input. Weights are drawn
    from `generator`, PyTorch's global one by default.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        hidden: int,
        bound: Callable[[Tensor], Tensor] = club,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        inputs, latents = sizes
        self.bound = bound
        self.mean = two_layers(inputs, hidden, latents)
        self.log_variance = two_layers(inputs, hidden, latents)
        initialize(self, generator)
        start_at_zero(self.mean)
        start_at_zero(self.log_variance)

    def estimate(self, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]) -> Estimate:
        """The bound, and how much likelier latents are under q than under the standard normal."""
        likelihoods = self.log_likelihoods(inputs, latents)
        untrained = -0.5 * (latents.square() + LOG_TWO_PI).sum(-1)
        return Estimate(self.bound(likelihoods), (likelihoods.diagonal(dim1=-2, dim2=-1) - untrained).mean())

    def log_likelihoods(
        self, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]
    ) -> Float[Tensor, "M B B"]:
        """log q(zᵢ|xₖ) of each latent i given each input k of the same mask."""
        mean, log_variance = self.mean(inputs), LOG_VARIANCE_LIMIT * self.log_variance(inputs).tanh()
        # Counted from the middle of the batch, the squares written out below lose fewer digits.
        middle = latents.detach().mean(dim=1, keepdim=True)
        mean, latents, precision = mean - middle, latents - middle, (-log_variance).exp()
        squares = latents.square() @ precision.mT - 2 * latents @ (mean * precision).mT
        of_input = (mean.square() * precision + log_variance + LOG_TWO_PI).sum(-1)
        return -0.5 * (squares + of_input.unsqueeze(-2))


class CriticEstimator(Estimator):
    """MINE: a network of three layers that scores pairs of input and latent (Belghazi et al. 2018, arXiv 1801.04062).

    It bounds from below, so that lowering it promises nothing: it is here for comparison. All pairs of a mask share one
    partition sum, in place of the paper's moving average. It starts at 0 for every pair. Weights are drawn from
    `generator`, PyTorch's global one by default.
    """

    def __init__(self, sizes: tuple[int, int], hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.of_input, self.of_latent = (nn.Linear(size, hidden) for size in sizes)
        self.score = nn.Sequential(nn.GELU(), two_layers(hidden, hidden, 1))
        initialize(self, generator)
        start_at_zero(self.score)

    def estimate(self, inputs: Float[Tensor, "M B X"], latents: Float[Tensor, "M B D"]) -> Estimate:
        """The bound, which is also the fit: that of the untrained critic is 0."""
        one, other = self.of_input(inputs), self.of_latent(latents)
        # The order of a batch is random already: shifting it shuffles, and a resumed run does the same.
        shifts = range(1, min(inputs.shape[1], SHUFFLES + 1))
        shuffled = torch.stack([other.roll(shift, dims=1) for shift in shifts], dim=1)
        own, others = self.score(one + other), self.score(one.unsqueeze(1) + shuffled)
        bound = donsker_varadhan(own.squeeze(-1), others.squeeze(-1))
        return Estimate(bound, bound)


def create_estimator(
    name: EstimatorName, sizes: tuple[int, int], hidden: int = 512, generator: torch.Generator | None = None
) -> Estimator:
    """Build an estimator with fresh weights.

    - `name`: `"club"`, `"leave-one-out"` or `"mine"`.
    - `sizes`: X and D, the lengths of a pooled input and of a latent; `hidden`: width of the layers between.

    Raises InputError for an unknown name.
    """
    if name not in get_args(EstimatorName):
        raise InputError(f"estimator: expected one of {', '.join(get_args(EstimatorName))}, got {name!r}")
    # Layers draw weights as they are made, before ours replace them.
    with torch.random.fork_rng(devices=[], enabled=generator is not None):
        if name == "mine":
            return CriticEstimator(sizes, hidden, generator)
        return LikelihoodEstimator(sizes, hidden, club if name == "club" else leave_one_out, generator)


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a GELU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def start_at_zero(network: nn.Module) -> None:
    """Set the weight of a network's last layer to 0."""
    last = list(network.modules())[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
