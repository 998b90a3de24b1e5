"""Gaussians as samples of a Markov chain: dead ones move to living ones, and all are stirred by noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_parameters import opacity_logits
from splatlearn.fitting.strategies.relocation import relocated
from splatlearn.fitting.strategies.strategy import PUBLISHED_STEPS, Edits, Step, calendar

STEEPNESS = 100.0
"""Steepness of the sigmoid by which noise fades as opacities rise above `min_opacity`."""


@dataclass(frozen=True)
class MCMCOptions:
    """Options of `MCMCStrategy`; the defaults are those of its authors.

    - `cap`: the number of Gaussians that is never exceeded; `growth`: by which the number is multiplied in each edit
      until then, rounded down, but by at least one Gaussian.
    - `start`, `stop`, `every`: edits come after each multiple of `every` steps between `start` and `stop`, both
      excluded.
    - `min_opacity`: Gaussians up to this opacity are dead, and no copy gets less.
    - `noise`: standard deviation of the noise, in rates of the means. It is drawn after every step.
    - `opacity_weight`, `scale_weight`: of the mean opacity and the mean scale, in extents, in the loss.

    Published code takes noise and scales in the units of its world, whose extent is about 1. Here they are divided by
    the extent, so that a scene fits as well in feet as in metres.

    Raises InputError for numbers out of range.
    """

    cap: int = 1_000_000
    growth: float = 1.05
    start: int = 500
    stop: int = 25_000
    every: int = 100
    min_opacity: float = 0.005
    noise: float = 5e5
    opacity_weight: float = 0.01
    scale_weight: float = 0.01

    def __post_init__(self) -> None:
        check_whole("cap", self.cap, 1)
        check_number("growth", self.growth, least=1)
        check_whole("start", self.start, 0)
        check_whole("stop", self.stop, 0)
        check_whole("every", self.every, 1)
        check_number("min_opacity", self.min_opacity, above=0, below=1)
        for name in ("noise", "opacity_weight", "scale_weight"):
            check_number(name, getattr(self, name), least=0)

    @classmethod
    def for_steps(cls, steps: int, cap: int) -> MCMCOptions:
        """Return the options for a fit of `steps` steps: the published ones, with fewer steps in fits below 30,000."""
        start, every = calendar(steps)
        return cls(cap=cap, start=start, stop=round(25_000 * min(1.0, steps / PUBLISHED_STEPS)), every=every)


class MCMCStrategy:
    """3D Gaussian Splatting as Markov chain Monte Carlo (Kheradmand et al. 2024, arXiv 2404.09591).

    Every `every` steps dead Gaussians take the place of living ones, drawn by opacity, and the set grows up to its cap
    by further copies. A Gaussian and its copies share opacity and scales such that the picture stays (`relocated`).
    The moments of all Gaussians that were touched begin anew. After every step means are moved by noise of the shape
    of the Gaussian, Σ·ε in extents, which fades where opacities are above `min_opacity`. No state is kept.
    """

    def __init__(self, options: MCMCOptions | None = None) -> None:
        self.options = options or MCMCOptions()

    def info(self, number: int) -> bool | tuple[str, ...]:
        """Return False: this strategy needs no `info`."""
        return False

    def wants_errors(self, number: int) -> bool:
        """Return False: this strategy looks at no pictures."""
        return False

    @property
    def cap(self) -> int | None:
        """The number of Gaussians that is never exceeded."""
        return self.options.cap

    def before_backward(self, gaussians: Gaussians, extent: float) -> Float[Tensor, ""] | None:
        """Return the regularisers: without them no Gaussian would die."""
        weights = (self.options.opacity_weight, self.options.scale_weight)
        if not any(weights) or not gaussians.count:
            return None
        return weights[0] * gaussians.opacities.mean() + weights[1] / extent * gaussians.scales.mean()

    @torch.no_grad()
    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        """Relocate, grow and stir."""
        options, edits = self.options, Edits()
        if options.start < step.number < options.stop and step.number % options.every == 0:
            edits = Edits(relocated=self._relocate(optimizer, step.draws), added=self._grow(optimizer, step.draws))
        if options.noise:
            self._stir(optimizer, step)
        return edits

    def follow(self, kept: Bool[Tensor, " K"]) -> None:
        """Do nothing: no state is kept."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: edits depend on parameters, the step and the seed alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over nothing; raises FormatError for tensors."""
        if state:
            raise FormatError(f"state: expected no tensors for the strategy mcmc, got {', '.join(sorted(state))}")

    def _relocate(self, optimizer: GaussianAdam, draws: Draws) -> int:
        """Move dead Gaussians to living ones; returns how many."""
        opacities = optimizer.parameters["logits"].sigmoid()
        dead = (opacities <= self.options.min_opacity).nonzero().squeeze(1)
        # A gradient that overflowed leaves NaN, neither dead nor alive, until the fit removes the Gaussian.
        weights = torch.where(opacities > self.options.min_opacity, opacities, 0.0)
        if not len(dead) or not bool(weights.any()):
            return 0
        sources = draws.picks(Draw.RELOCATION, weights, len(dead))
        self._share(optimizer, sources)
        for each in optimizer.parameters.values():
            each[dead] = each[sources]
        optimizer.reset(torch.cat([sources, dead]))
        return len(dead)

    def _grow(self, optimizer: GaussianAdam, draws: Draws) -> int:
        """Add copies of living Gaussians; returns how many."""
        count = optimizer.count
        if self.options.growth == 1.0 or count == 0:
            return 0
        more = min(self.options.cap, max(int(self.options.growth * count), count + 1)) - count
        if more <= 0:
            return 0
        weights = optimizer.parameters["logits"].sigmoid().nan_to_num(0.0)
        if not bool(weights.any()):
            return 0
        sources = draws.picks(Draw.GROWTH, weights, more)
        self._share(optimizer, sources)
        optimizer.reset(sources)
        optimizer.append({name: each.detach()[sources] for name, each in optimizer.parameters.items()})
        return more

    def _share(self, optimizer: GaussianAdam, sources: Int64[Tensor, " N"]) -> None:
        """Give Gaussians the opacity and the scales that each of their copies, themselves included, is to have."""
        logits, log_scales = optimizer.parameters["logits"], optimizer.parameters["log_scales"]
        copies = torch.bincount(sources, minlength=optimizer.count)[sources] + 1
        opacities, scales = relocated(logits[sources].sigmoid(), log_scales[sources].exp(), copies)
        logits[sources] = opacity_logits(opacities.clamp_min(self.options.min_opacity))
        log_scales[sources] = scales.log()

    def _stir(self, optimizer: GaussianAdam, step: Step) -> None:
        """Move means by Σ·ε, with ε normal of a width that fades as opacities rise."""
        parameters = optimizer.parameters
        faded = torch.sigmoid(STEEPNESS * (self.options.min_opacity - parameters["logits"].sigmoid()))
        noise = step.draws.normals(Draw.NOISE, tuple(parameters["means"].shape), parameters["means"])
        noise *= faded.unsqueeze(-1) * (self.options.noise * step.position_rate / step.extent)
        unit = torch.nn.functional.normalize(parameters["quaternions"], dim=-1)
        turned = _turned(unit * unit.new_tensor((1.0, -1.0, -1.0, -1.0)), noise)
        turned *= parameters["log_scales"].mul(2.0).exp_()
        parameters["means"] += _turned(unit, turned)


def _turned(unit: Float[Tensor, "K 4"], vectors: Float[Tensor, "K 3"]) -> Float[Tensor, "K 3"]:
    """Rotate each vector by its unit quaternion; five times as fast as `torch.linalg.cross`."""
    (w, x, y, z), (a, b, c) = unit.unbind(-1), vectors.unbind(-1)
    p, q, r = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    return torch.stack([a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p], dim=-1)
