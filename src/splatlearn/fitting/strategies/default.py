"""Adaptive density control: Gaussians are cloned and split where pictures pull at them, and pruned where they fade."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.errors import FormatError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.draws import Draw
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_parameters import opacity_logits
from splatlearn.fitting.strategies.budget import Budget, LossSlopes
from splatlearn.fitting.strategies.cross_rays import crossed
from splatlearn.fitting.strategies.sensitivity import removal_changes
from splatlearn.fitting.strategies.strategy import PUBLISHED_STEPS, Edits, Seen, Step, calendar

RESET_FROM = 5_000
"""The number of steps of the shortest fits that reset opacities."""
CHILDREN = 2
"""Gaussians that a split puts in the place of one."""
SHRINK = 0.8 * CHILDREN
"""Divisor of the scales of these children."""
SEEN = ("gradient_sums", "views", "radii")
"""Names of the state's tensors, each [K], summed or maximised over views since the last edit."""
COLORS, SLOPES = "color_sums", "slopes"
"""Names of further tensors: [K], gradients of colours since the last edit; and the state of `LossSlopes`."""
COLOR_THRESHOLD = 0.01
"""The gradient of a colour from which on a Gaussian is grown, in thresholds of gradients of means2d (Turbo-GS)."""


@dataclass(frozen=True)
class DefaultOptions:
    """Options of `DefaultStrategy`; the defaults are those of 3D Gaussian Splatting.

    - `cap`: the number of Gaussians that is never exceeded; those with the largest gradients are grown first. None: no
      limit.
    - `start`, `stop`, `every`: edits come after each multiple of `every` steps between `start` and `stop`, both
      excluded.
    - `absgrad`: compare sums over pixels of absolute gradients instead of gradients (AbsGS).
    - `grow_gradient`: mean over views of the gradient's length in normalised device coordinates from which on a
      Gaussian is cloned or split.
    - `split_scale`: the largest scale, in extents, up to which it is cloned and above which it is split.
    - `prune_opacity`: Gaussians below it are removed.
    - `prune_scale`: Gaussians whose largest scale is above it, in extents, are removed after the first reset.
    - `prune_radius`: the same in pixels of any view since the last edit; None: no limit, which is what 3DGS does, since
      it clears radii before it looks at them.
    - `reset_every`, `reset_opacity`: every so many steps before `stop`, opacities are lowered to at most this.
    - `revised_opacity`: give both Gaussians that come of one the opacity 1 − √(1 − o), so that they block together what
      it did (Rota Bulò et al. 2024), instead of its own.
    - `budget`: the number of Gaussians after each edit, up to what is pruned: those with the largest gradients are
      grown, whether these reach `grow_gradient` or not. None: all that reach it.
    - `color_share`: the share of the edits, drawn at random, in which Gaussians are also grown for the gradient of
      their colour (Turbo-GS has 0.2).
    - `cross_rays`: also grow Gaussians where rays of two views of a step cross whose pictures are worst there
      (`cross_rays.py`); a step with one view grows none by it.
    - `prune_share`: the share of the Gaussians that is removed in step `stop`: those whose removal would change the
      pictures least (`sensitivity.py`).

    Raises InputError for numbers out of range.
    """

    cap: int | None = None
    start: int = 500
    stop: int = 15_000
    every: int = 100
    absgrad: bool = False
    grow_gradient: float = 2e-4
    split_scale: float = 0.01
    prune_opacity: float = 0.005
    prune_scale: float = 0.1
    prune_radius: float | None = None
    reset_every: int = 3_000
    reset_opacity: float = 0.01
    revised_opacity: bool = False
    budget: Budget | None = None
    color_share: float = 0.0
    cross_rays: bool = False
    prune_share: float = 0.0

    def __post_init__(self) -> None:
        if self.cap is not None:
            check_whole("cap", self.cap, 1)
        for name in ("every", "reset_every"):
            check_whole(name, getattr(self, name), 1)
        for name in ("start", "stop"):
            check_whole(name, getattr(self, name), 0)
        for name in ("grow_gradient", "split_scale", "prune_scale"):
            check_number(name, getattr(self, name), least=0)
        check_number("prune_opacity", self.prune_opacity, least=0, below=1)
        check_number("color_share", self.color_share, least=0, most=1)
        check_number("prune_share", self.prune_share, least=0, below=1)
        check_number("reset_opacity", self.reset_opacity, above=0, below=1)
        if self.prune_radius is not None:
            check_number("prune_radius", self.prune_radius, above=0)

    @classmethod
    def for_steps(cls, steps: int, cap: int | None = None, absgrad: bool = False) -> DefaultOptions:
        """Return the options for a fit of `steps` steps: the published ones, with fewer steps in fits below 30,000.

        Opacities are reset no more often than every 1,000 steps, which they need to recover, and not at all in fits
        below 5,000 steps, which are too short to gain from it. With `absgrad`, absolute gradients count from 6e-4 on,
        with which gsplat publishes its results of AbsGrad.
        """
        share = min(1.0, steps / PUBLISHED_STEPS)
        start, every = calendar(steps)
        return cls(
            cap=cap,
            start=start,
            stop=round(15_000 * share),
            every=every,
            absgrad=absgrad,
            grow_gradient=6e-4 if absgrad else 2e-4,
            # Nothing is reset after `stop`, which comes before the last step.
            reset_every=max(1_000, round(3_000 * share)) if steps >= RESET_FROM else steps,
        )


class DefaultStrategy:
    """The adaptive density control of 3D Gaussian Splatting (Kerbl et al. 2023), or of AbsGS (Ye et al. 2024).

    Gradients of a view count in normalised device coordinates and for the loss of this view alone, for any number of
    views in a step. The rows that `after_step` leaves are the Gaussians that were not split, then the clones, then the
    first and the second children of those that were, less what was pruned; moments of new ones begin at 0. It needs the
    `info` of `render`, which the compiled kernels and gsplat collect, from float32 tensors.
    """

    def __init__(self, options: DefaultOptions | None = None) -> None:
        self.options = options or DefaultOptions()
        self._seen: dict[str, Tensor] = {}
        self._slopes = LossSlopes()

    def info(self, number: int) -> bool | tuple[str, ...]:
        """Return what `render` is to collect: gradients of means2d until the last edit."""
        if number >= self.options.stop:
            return False
        return ("absgrad",) if self.options.absgrad else True

    def wants_errors(self, number: int) -> bool:
        """Return whether rays are crossed after step `number`."""
        return self.options.cross_rays and self._is_edit(number)

    @property
    def cap(self) -> int | None:
        """The number of Gaussians that is never exceeded."""
        return self.options.cap

    def before_backward(self, gaussians: Gaussians, extent: float) -> Float[Tensor, ""] | None:
        """Nothing is added to the loss."""
        return None

    @torch.no_grad()
    def after_step(self, optimizer: GaussianAdam, step: Step) -> Edits:
        """Remember what was seen; clone, split and prune, and reset opacities when it is time."""
        options = self.options
        if step.number >= options.stop:
            self._seen = {}
            return Edits(pruned=self._prune_insensitive(optimizer) if step.number == options.stop else 0)
        self._look(optimizer, step)
        if options.budget is not None and options.budget.adapts:
            self._slopes.add(step.number, step.loss)
        edits = {}
        if self._is_edit(step.number):
            edits = self._refine(optimizer, step)
            self._seen = {}
        is_reset = step.number % options.reset_every == 0
        if is_reset:
            limit = torch.tensor(options.reset_opacity, dtype=torch.float64).logit()
            optimizer.parameters["logits"].clamp_(max=float(limit))
            optimizer.reset(names=["logits"])
        return Edits(**edits, reset=is_reset)

    def follow(self, kept: Bool[Tensor, " K"]) -> None:
        """Forget Gaussians that the fit removed."""
        self._seen = {name: each[kept] for name, each in self._seen.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what was seen since the last edit, [K] each, and the slopes of the loss if the budget follows it."""
        adapts = self.options.budget is not None and self.options.budget.adapts
        return self._seen | ({SLOPES: self._slopes.sums} if adapts else {})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names."""
        known = {*SEEN, COLORS}
        seen = {name: each.clone() for name, each in state.items() if name != SLOPES}
        if seen and set(seen) not in (set(SEEN), known):
            raise FormatError(f"state: expected the tensors {', '.join(SEEN)}, got {', '.join(sorted(state))}")
        self._seen = seen
        if SLOPES in state:
            self._slopes.sums = state[SLOPES].detach().to("cpu", torch.float64).clone()

    def _look(self, optimizer: GaussianAdam, step: Step) -> None:
        has_colors = self.options.color_share > 0
        if not self._seen:
            like = optimizer.parameters["logits"].detach()
            self._seen = {name: torch.zeros_like(like) for name in (*SEEN, *((COLORS,) if has_colors else ()))}
        for each in step.seen:
            self._look_at(each, step.views)
        if has_colors:
            # The loss is a mean over views: its gradient times their number is the sum over views.
            self._seen[COLORS] += _color_gradients(optimizer) * step.views

    def _look_at(self, seen: Seen, total: int) -> None:
        """Remember views of a step with `total` of them."""
        info = seen.info
        assert info is not None, "the default strategy needs the info of render"
        gradients = info.means2d_absgrad if self.options.absgrad else info.means2d_grad
        assert gradients is not None, "gradients of means2d come with the backward pass"
        sums, views, radii = (self._seen[name] for name in SEEN)
        height, width = seen.size
        # From pixels to normalised device coordinates, and from the mean over pictures to each picture's own loss.
        lengths = (gradients * gradients.new_tensor((width / 2, height / 2))).norm(dim=-1) * total
        counts = torch.bincount(info.view_ids, minlength=seen.views).tolist()
        # A view sees a Gaussian once: without repeated indices sums have the same bits for any number of threads.
        for ids, length, radius in zip(
            info.ids.split(counts), lengths.split(counts), info.radii.split(counts), strict=True
        ):
            sums[ids] += length
            views[ids] += 1
            radii[ids] = torch.maximum(radii[ids], radius)

    def _is_edit(self, number: int) -> bool:
        options = self.options
        return options.start < number < options.stop and number % options.every == 0

    def _refine(self, optimizer: GaussianAdam, step: Step) -> dict[str, int]:
        """Clone, split and prune; returns how many of each."""
        options, parameters = self.options, optimizer.parameters
        gradients = self._wishes(step, parameters["means"])
        largest = parameters["log_scales"].exp().amax(dim=1)
        grows = self._within(self._room(optimizer.count, step), gradients)
        is_split = grows & (largest > options.split_scale * step.extent)
        clones, parents = (grows & ~is_split).nonzero().squeeze(1), is_split.nonzero().squeeze(1)
        if options.revised_opacity:
            both = grows.nonzero().squeeze(1)
            opacities = parameters["logits"][both].sigmoid()
            parameters["logits"][both] = opacity_logits(1.0 - (1.0 - opacities).sqrt())
        rows = torch.cat([(~is_split).nonzero().squeeze(1), clones, parents.repeat(CHILDREN)])
        old = optimizer.count - len(parents)
        optimizer.gather(rows, torch.arange(len(rows), device=rows.device) >= old)
        if len(parents):
            _scatter_children(optimizer, len(rows) - CHILDREN * len(parents), step)
        radii = torch.cat([self._seen["radii"][rows[:old]], self._seen["radii"].new_zeros(len(rows) - old)])
        kept = ~self._is_pruned(optimizer, radii, step)
        pruned = len(kept) - int(kept.sum())
        # A fit without Gaussians could not go on.
        if 0 < pruned < len(kept):
            optimizer.gather(kept)
        return {"cloned": len(clones), "split": len(parents), "pruned": pruned if pruned < len(kept) else 0}

    def _wishes(self, step: Step, means: Float[Tensor, "K 3"]) -> Float[Tensor, " K"]:
        """How much each Gaussian is to be grown: the mean over views of its gradient, or what counts like one."""
        views = self._seen["views"].clamp_min(1)
        wishes = self._seen["gradient_sums"] / views
        if COLORS in self._seen and float(step.draws.uniforms(Draw.COLOR_GROWTH, 1)) < self.options.color_share:
            wishes = torch.maximum(wishes, self._seen[COLORS] / views / COLOR_THRESHOLD)
        if self.options.cross_rays:
            errors = [each.errors for each in step.seen if each.errors is not None]
            wishes = torch.where(crossed(means, errors), wishes.clamp_min(self.options.grow_gradient), wishes)
        return wishes

    def _room(self, count: int, step: Step) -> int | None:
        """How many Gaussians may be added, None for no limit."""
        options = self.options
        limits = [] if options.cap is None else [options.cap]
        if options.budget is not None:
            share = (step.number - options.start) / max(1, options.stop - options.start)
            limits.append(options.budget.at(share, self._slopes.change() if options.budget.adapts else 0.0))
        return max(0, min(limits) - count) if limits else None

    def _within(self, room: int | None, wishes: Float[Tensor, " K"]) -> Bool[Tensor, " K"]:
        """Those that grow: each makes one more Gaussian, and where room is short the largest wishes win."""
        grows = wishes >= self.options.grow_gradient if self.options.budget is None else wishes > 0
        if room is None or int(grows.sum()) <= room:
            return grows
        order = wishes.masked_fill(~grows, -math.inf).argsort(descending=True, stable=True)
        allowed = torch.zeros_like(grows)
        allowed[order[:room]] = True
        return allowed & grows

    def _prune_insensitive(self, optimizer: GaussianAdam) -> int:
        """Remove the share of the Gaussians that the pictures miss least; returns how many."""
        count = int(self.options.prune_share * optimizer.count)
        if count:
            order = removal_changes(optimizer).argsort(stable=True)
            kept = torch.ones(optimizer.count, dtype=torch.bool, device=order.device)
            kept[order[:count]] = False
            optimizer.gather(kept)
        return count

    def _is_pruned(self, optimizer: GaussianAdam, radii: Float[Tensor, " K"], step: Step) -> Bool[Tensor, " K"]:
        options, parameters = self.options, optimizer.parameters
        pruned = parameters["logits"].sigmoid() < options.prune_opacity
        if step.number > options.reset_every:
            pruned |= parameters["log_scales"].exp().amax(dim=1) > options.prune_scale * step.extent
            if options.prune_radius is not None:
                pruned |= radii > options.prune_radius
        return pruned


def _color_gradients(optimizer: GaussianAdam) -> Float[Tensor, " K"]:
    """Lengths of the gradients of the colours that do not depend on the direction."""
    if (colors := optimizer.parameters.get("colors")) is not None:
        assert colors.grad is not None, "the strategy sees the gradients of a step"
        return colors.grad.norm(dim=-1)
    gradient = optimizer.parameters["sh"].grad
    assert gradient is not None, "the strategy sees the gradients of a step"
    # A colour is C0 times the coefficient of degree 0.
    return gradient[:, 0].norm(dim=-1) / C0


def _scatter_children(optimizer: GaussianAdam, first: int, step: Step) -> None:
    """Move the rows from `first` on, children that lie where their parents did, to points drawn from these."""
    parameters = optimizer.parameters
    children = slice(first, None)
    scales = parameters["log_scales"][children].exp()
    count = len(scales) // CHILDREN
    noise = step.draws.normals(Draw.SPLIT, (CHILDREN, count, 3), scales).reshape(-1, 3)
    turns = quaternions_to_matrices(parameters["quaternions"][children])
    parameters["means"][children] += (turns @ (scales * noise).unsqueeze(-1)).squeeze(-1)
    parameters["log_scales"][children] -= math.log(SHRINK)
