"""Growth of smooth convexes: those whose sharpness the pictures pull at split into one for each of their points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import CONVEX_NUMBERS, Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_parameters import opacity_logits
from splatlearn.fitting.strategies.budget import Budget
from splatlearn.fitting.strategies.strategy import Edits, Step, calendar

SHARPNESS = 1
"""The place of the sharpness among the unbounded numbers of a convex."""
SEEN = ("gradient_sums", "steps")
"""Names of the state's tensors, each [K], summed over steps since the last edit."""
GROWN = 0.3
"""Share of the steps after which none is split any more: 9,000 of the published 30,000."""
PRUNED_FROM = 0.1
"""Share of the steps from which on large convexes are removed."""


@dataclass(frozen=True)
class SharpnessOptions:
    """Options of `SharpnessStrategy`; the defaults but for `budget` are those of 3DCS for scenes without a preset.

    - `budget`: the number of convexes after each edit, up to what is pruned; those with the largest gradients split.
    - `start`, `stop`, `every`: edits come after each multiple of `every` steps between `start` and `stop`, both
      excluded. Afterwards faint ones are still pruned.
    - `shrink`, `fade`: what the scales and the opacity of children are multiplied by. Smoothness and sharpness count in
      scales, and stay.
    - `prune_opacity`: convexes below it are removed.
    - `prune_size`, `prune_size_from`: convexes that reach farther from their centre, in extents, are removed after this
      step.

    Raises InputError for numbers out of range.
    """

    budget: Budget
    start: int = 500
    stop: int = 9_000
    every: int = 200
    shrink: float = 0.63
    fade: float = 0.5
    prune_opacity: float = 0.03
    prune_size: float = 0.3
    prune_size_from: int = 3_000

    def __post_init__(self) -> None:
        check_whole("every", self.every, 1)
        for name in ("start", "stop", "prune_size_from"):
            check_whole(name, getattr(self, name), 0)
        for name in ("shrink", "fade", "prune_size"):
            check_number(name, getattr(self, name), above=0)
        check_number("fade", self.fade, most=1)
        check_number("prune_opacity", self.prune_opacity, least=0, below=1)

    @classmethod
    def for_steps(cls, steps: int, budget: Budget) -> SharpnessOptions:
        """Return the options for a fit of `steps` steps: the published shares of them, and half as many edits."""
        start, every = calendar(steps)
        return cls(
            budget, start=start, stop=round(GROWN * steps), every=2 * every, prune_size_from=round(PRUNED_FROM * steps)
        )


class SharpnessStrategy:
    """The adaptive density control of 3D Convex Splatting (Held et al. 2025).

    A convex grows by how strongly the steps that saw it pulled at the logarithm of its sharpness, σ: where an edge is
    to be sharper or softer than its neighbours let it be, there is more to show. It is replaced by one child for each
    of its P points, around them. The published threshold of the gradient is one for each kind of scene, and depends on
    the size of pictures; a budget takes its place. It needs no `info`, so that every backend will do.
    """

    def __init__(self, options: SharpnessOptions) -> None:
        self.options = options
        self._seen: dict[str, Tensor] = {}

    def info(self, number: int) -> bool:
        """Return False: the gradients of the parameters tell enough."""
        return False

    def wants_errors(self, number: int) -> bool:
        """Return False: it looks at no pictures."""
        return False

    @property
    def cap(self) -> int | None:
        """The number of convexes that is never exceeded."""
        return self.options.budget.last

    def before_backward(self, gaussians: Gaussians, extent: float) -> Float[Tensor, ""] | None:
        """Nothing is added to the loss."""
        return None

    @torch.no_grad()
    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        """Remember what was pulled at; split and prune when it is time."""
        options = self.options
        if step.number < options.stop:
            self._look(optimizer)
        if step.number <= options.start or step.number % options.every:
            return Edits()
        split = self._split(optimizer, step) if step.number < options.stop else 0
        self._seen = {}
        return Edits(split=split, pruned=self._prune(optimizer, step))

    def follow(self, kept: Bool[Tensor, " K"]) -> None:
        """Forget convexes that the fit removed."""
        self._seen = {name: each[kept] for name, each in self._seen.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what was seen since the last edit, [K] each."""
        return self._seen

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        if state and set(state) != set(SEEN):
            raise FormatError(f"state: expected the tensors {', '.join(SEEN)}, got {', '.join(sorted(state))}")
        self._seen = {name: each.clone() for name, each in state.items()}

    def _look(self, optimizer: GaussianAdam) -> None:
        shapes = optimizer.parameters.get("shapes")
        if shapes is None or shapes.shape[1] <= CONVEX_NUMBERS:
            raise InputError("strategy: expected convexes, whose sharpness it looks at, got other primitives")
        assert shapes.grad is not None, "the strategy sees the gradients of a step"
        pulls = shapes.grad[:, SHARPNESS].abs()
        if not self._seen:
            self._seen = {name: torch.zeros_like(pulls) for name in SEEN}
        self._seen["gradient_sums"] += pulls
        self._seen["steps"] += pulls > 0

    def _split(self, optimizer: GaussianAdam, step: Step) -> int:
        """Replace those that are pulled at most by their children; returns how many."""
        options = self.options
        share = (step.number - options.start) / max(1, options.stop - options.start)
        room = options.budget.at(share) - optimizer.count
        points = (optimizer.parameters["shapes"].shape[1] - CONVEX_NUMBERS) // 3
        wishes = self._seen["gradient_sums"] / self._seen["steps"].clamp_min(1)
        count = min(room // (points - 1), int((wishes > 0).sum()))
        if count < 1:
            return 0
        is_split = torch.zeros_like(wishes, dtype=torch.bool)
        is_split[wishes.argsort(descending=True, stable=True)[:count]] = True
        kept, parents = (each.nonzero().squeeze(1) for each in (~is_split, is_split))
        rows = torch.cat([kept, parents.repeat_interleave(points)])
        optimizer.gather(rows, torch.arange(len(rows), device=rows.device) >= len(kept))
        self._place(optimizer, len(kept), torch.arange(points, device=rows.device).repeat(count))
        return count

    def _place(self, optimizer: GaussianAdam, first: int, numbers: Int64[Tensor, " N"]) -> None:
        """Move the rows from `first` on, copies of their parents, to the points of these that `numbers` name."""
        parameters, children = optimizer.parameters, slice(first, None)
        places = _places(parameters)[children]
        picked = places[torch.arange(len(numbers), device=numbers.device), numbers]
        parameters["means"][children] += picked
        parameters["log_scales"][children] += math.log(self.options.shrink)
        faded = self.options.fade * parameters["logits"][children].sigmoid()
        parameters["logits"][children] = opacity_logits(faded)

    def _prune(self, optimizer: GaussianAdam, step: Step) -> int:
        options, parameters = self.options, optimizer.parameters
        kept = parameters["logits"].sigmoid() >= options.prune_opacity
        if step.number > options.prune_size_from:
            kept &= _places(parameters).norm(dim=-1).amax(-1) <= options.prune_size * step.extent
        pruned = len(kept) - int(kept.sum())
        # A fit without convexes could not go on.
        if not 0 < pruned < len(kept):
            return 0
        optimizer.gather(kept)
        return pruned


def _places(parameters: Mapping[str, Tensor]) -> Float[Tensor, "K P 3"]:
    """The points of convexes in the world, from their centres."""
    points = parameters["shapes"][:, CONVEX_NUMBERS:].unflatten(1, (-1, 3))
    scaled = points * parameters["log_scales"].exp().unsqueeze(1)
    return scaled @ quaternions_to_matrices(parameters["quaternions"]).mT
