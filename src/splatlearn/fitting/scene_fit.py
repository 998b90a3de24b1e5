"""The fit of a scene, one step at a time: render, compare, move, edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from splatlearn.core.cameras import WHOLE_PICTURE, Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.core.numbers import check_number
from splatlearn.fitting.compaction.shaping import Shaping
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.losses.photometric import photometric_loss
from splatlearn.fitting.losses.residuals import residuals
from splatlearn.fitting.losses.robust import RobustWeights
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.fitting.scene_parameters import scene_gaussians, scene_parameters
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.skies.sky import Sky
from splatlearn.fitting.smoothing import Smoothing
from splatlearn.fitting.strategies.strategy import Edits, Errors, Seen, Step, Strategy
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.fitting.terms.term import Term, TermInputs, active, check_terms
from splatlearn.fitting.views.composition import ViewModels, middle_of_each, spread_background
from splatlearn.fitting.views.step import Comparison, Descent, StepResult
from splatlearn.fitting.views.view_batch import ViewBatch
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.rendering import render
from splatlearn.rendering.choice import check_filter
from splatlearn.rendering.compositing import Background


class SceneFit:
    """A scene that is fitted to pictures, step by step.

    - `start`: Gaussians [K] of any primitive, with `sh` or 3 `colors`, in world units in which float32 can tell
      neighbours apart.
    - `extent`: of the scene, world units, by which rates of means and thresholds of scales are multiplied; see
      `camera_extent`.
    - `strategy`: when Gaussians are added, split, moved and removed; it belongs to this fit.
    - `schedule`: see `SceneSchedule`.
    - `terms`: further terms of the loss; see `Term`. They belong to this fit.
    - `view_models`: models of single photographs, from the scene to the photograph; see `ViewModel`. A term sees
      the pictures before it; where a model renders several instants of a view, the middle one.
    - `robust`: weights of pixels that discount passers-by; it belongs to this fit. None: all count alike.
    - `sky`: the background by direction, learned with the Gaussians; it belongs to this fit. The backgrounds of batches
      are then ignored.
    - `smoothing`: the least widths of Gaussians; it belongs to this fit.
    - `shapings`: what changes Gaussians before they are drawn, one after the other, and before `smoothing`.
    - `filter`: of the pictures; see `render`. None: "mip" with `smoothing`, which is its other half, else "point".

    A step is a function of the state, the pictures and the seed: a fit that goes on from `state_dict` makes the same
    steps, bit for bit on a CPU, for any number of threads. Before the first step `gaussians` returns the start up to
    rounding. Raises InputError for Gaussians that do not fit the parametrisation, an extent that is not above 0, more
    Gaussians than the strategy's cap, an unknown filter, and two terms or view models of one name.
    """

    def __init__(
        self,
        start: Gaussians,
        extent: float,
        strategy: Strategy,
        schedule: SceneSchedule | None = None,
        terms: Sequence[Term] = (),
        view_models: Sequence[ViewModel] = (),
        robust: RobustWeights | None = None,
        sky: Sky | None = None,
        smoothing: Smoothing | None = None,
        shapings: Sequence[Shaping] = (),
        filter: str | None = None,
    ) -> None:
        check_number("extent", extent, above=0)
        check_terms(terms)
        check_filter(filter or "point")
        if strategy.cap is not None and start.count > strategy.cap:
            raise InputError(
                f"start: expected at most the strategy's cap of {strategy.cap} Gaussians, got {start.count}; "
                "select some first, or raise the cap"
            )
        self.extent, self.strategy, self.schedule = float(extent), strategy, schedule or SceneSchedule()
        self.terms, self.robust, self.smoothing = {term.name: term for term in terms}, robust, smoothing
        self.sky = None if sky is None else sky.to(start.means.device)
        self.view_models, self.shapings = ViewModels(view_models), tuple(shapings)
        self._own = {name: each for shaping in self.shapings for name, each in shaping.own.items()}
        self.filter = filter or ("point" if smoothing is None else "mip")
        """The filter of its pictures; see `render`."""
        self.done = 0
        """Steps that were made."""
        self.primitive = start.primitive
        parameters = scene_parameters(start)
        logits = parameters["logits"]
        first = {name: torch.full_like(logits, each.first) for name, each in self._own.items()}
        self.optimizer = self._adam(parameters | self.view_models.first_numbers(logits) | first)

    def gaussians(self) -> Gaussians:
        """The Gaussians as they are, with gradients to the parameters."""
        made = scene_gaussians(self.optimizer.parameters, self.primitive)
        for shaping in self.shapings:
            made = shaping.of(made, self.optimizer.parameters, self.done + 1)
        return made if self.smoothing is None else self.smoothing.of(made)

    def step(
        self,
        cameras: Camera,
        targets: Shaped[Tensor, "V C H W"],
        masks: Shaped[Tensor, "V H W"] | None = None,
        background: Background = "black",
        depth: DepthTargets | None = None,
        views: Int64[Tensor, " V"] | None = None,
    ) -> StepResult:
        """Move the Gaussians by one step towards pictures of V views.

        - `cameras` [V]: of one size.
        - `targets` [V, 3 or 4, H, W]: uint8, or floating-point in [0, 1], in any memory layout. RGBA is composed over
          the background.
        - `masks` [V, H, W]: weights of pixels, or bool; pixels of weight 0 and False are ignored.
        - `background`: "white", "black", 3 numbers, or a tensor [3] or [V, 3].
        - `depth`: known depths of the views, for terms that compare them.
        - `views` [V]: the rows of the photographs in the view models; needed if there are any.

        Gaussians that are not finite are removed when they spoil a loss or a term. The step is made without an update
        if one of them is not finite even so. Raises InputError for shapes that do not fit, and where no Gaussian is
        finite.
        """
        return self.step_on([ViewBatch(cameras, targets, masks, background, depth, views)])

    def step_on(self, batches: Sequence[ViewBatch]) -> StepResult:
        """Move the Gaussians by one step towards the pictures of all batches, which may differ in size.

        The loss is the mean over all views, each of which counts the same at any size, and so is its gradient. Batches
        are rendered one after the other, and their gradients added in this order, so that there is never more than one
        beside the sum.
        Raises as `step` does, and InputError for no batch, and for a grid in a fit with terms or view models.
        """
        self._check(batches)
        number, schedule = self.done + 1, self.schedule
        self._raise_degree(number)
        models = self.view_models
        total = sum(batch.count for batch in batches)
        ids = [batch.views for batch in batches if batch.views is not None]
        seen = models.views(torch.cat(ids) if ids else None, total, number, schedule.seed)
        found, removed = self._descend(number, batches), 0
        if not found.is_finite and (removed := self._remove_broken()):
            found = self._descend(number, batches)
        self.done = number
        if not found.is_finite:
            return StepResult(found.loss, Edits(), removed, skipped=True, terms=found.terms)
        if self.robust is not None:
            self.robust.commit()
        self.optimizer.rates = self._rates(number, self.optimizer.parameters)
        self.optimizer.step()
        models.move(seen, schedule.steps)
        models.settle(self.optimizer.parameters)
        if self.sky is not None:
            self.sky.move()
        position_rate = schedule.rates.position_at(number, schedule.steps, self.extent)
        draws = Draws(schedule.seed, number)
        done = Step(number, self.extent, position_rate, draws, tuple(found.seen), found.loss)
        edits = self._edit(done)
        if self.smoothing is not None:
            self.smoothing.after_step(number, edits != Edits())
        self.optimizer.zero_grad()
        return StepResult(found.loss, edits, removed, terms=found.terms)

    def _edit(self, done: Step) -> Edits:
        """Let the strategy edit the Gaussians, and remove those that shapings do not keep."""
        edits = self.strategy.after_step(self.optimizer, done)
        for shaping in self.shapings:
            if (kept := shaping.kept(self.optimizer.parameters, done.number)) is not None:
                edits = replace(edits, pruned=edits.pruned + self.keep(kept))
        return edits

    def _check(self, batches: Sequence[ViewBatch]) -> None:
        if not batches:
            raise InputError("batches: expected at least one, got none")
        has_more = bool(self.terms) or bool(self.view_models.models)
        if has_more and any(batch.grid != WHOLE_PICTURE for batch in batches):
            raise InputError("grid: expected whole pictures in a fit with terms or view models; use a stride of 1")

    def _descend(self, number: int, batches: Sequence[ViewBatch]) -> Descent:
        """Compare all batches and add their gradients; those of a loss that is not finite are dropped."""
        found, total = Descent(), sum(batch.count for batch in batches)
        if self.robust is not None:
            self.robust.drop()
        for batch in batches:
            share = batch.count / total
            own = self.optimizer.parameters
            seen = self.view_models.views(batch.views, batch.count, number, self.schedule.seed, own)
            gaussians, cameras, rendering, errors, loss, terms = self._compare(number, batch, seen)
            loss, terms = share * loss, {name: share * each for name, each in terms.items()}
            is_first = not found.seen
            found.add(loss, terms)
            if not found.is_finite:
                self.optimizer.zero_grad()
                self.view_models.zero_grad()
                if self.sky is not None:
                    self.sky.optimizer.zero_grad()
                break
            if is_first:
                added = [self.strategy.before_backward(gaussians, self.extent)]
                for each in (*added, *(shaping.penalty(own) for shaping in self.shapings)):
                    loss = loss if each is None else loss + each
            if (penalty := self.view_models.penalty(seen)) is not None:
                loss = loss + share * penalty
            for each in terms.values():
                loss = loss + each
            loss.backward()
            found.seen.append(Seen((cameras.height, cameras.width), cameras.batch_shape[0], rendering.info, errors))
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return named tensors with which, and with the arguments, a fit goes on: nothing is copied.

        `done`, and by prefix `parameters.`, `optimizer.` (moments and their steps), `strategy.`, `terms.NAME.`,
        `views.NAME.`, `robust.`, `sky.` and `smoothing.`. Random numbers need no state, since they are a function of
        the seed and the step.
        """
        parts = {
            "parameters": {name: each.detach() for name, each in self.optimizer.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "strategy": self.strategy.state_dict(),
            "terms": {
                f"{name}.{key}": each for name, term in self.terms.items() for key, each in term.state_dict().items()
            },
            "views": self.view_models.state_dict(),
            "robust": {} if self.robust is None else self.robust.state_dict(),
            "sky": {} if self.sky is None else self.sky.state_dict(),
            "smoothing": {} if self.smoothing is None else self.smoothing.state_dict(),
        }
        named = {f"{part}.{name}": each for part, tensors in parts.items() for name, each in tensors.items()}
        return {"done": torch.tensor(self.done), **named}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; tensors are copied to the device of this fit.

        Raises FormatError for missing and unknown names and for shapes that disagree.
        """
        names = ("parameters", "optimizer", "strategy", "terms", "views", "robust", "sky", "smoothing")
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        for key, each in state.items():
            part, _, name = key.partition(".")
            if key != "done" and (part not in parts or not name):
                raise FormatError(f"state: expected names that begin with {', '.join(parts)}, got {key!r}")
            if name:
                parts[part][name] = each
        wanted = set(self.optimizer.parameters)
        if "done" not in state or set(parts["parameters"]) != wanted:
            raise FormatError(
                f"state: expected done and the parameters {', '.join(sorted(wanted))}, got {', '.join(sorted(state))}"
            )
        like = self.optimizer.parameters["means"].detach()
        self.optimizer = self._adam(
            {name: each.detach().to(like).clone() for name, each in parts["parameters"].items()}
        )
        self.optimizer.load_state_dict(parts["optimizer"])
        # The slopes of the loss are float64 in every fit.
        self.strategy.load_state_dict({name: each.to(like.device) for name, each in parts["strategy"].items()})
        self._load_terms({name: each.to(like.device) for name, each in parts["terms"].items()})
        self.view_models.load_state_dict(parts["views"])
        if self.robust is not None:
            self.robust.load_state_dict(parts["robust"])
        if self.smoothing is not None:
            self.smoothing.load_state_dict({name: each.to(like) for name, each in parts["smoothing"].items()})
        if self.sky is not None:
            self.sky.load_state_dict(parts["sky"])
        self.done = int(state["done"])

    def _load_terms(self, state: Mapping[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in self.terms}
        for key, each in state.items():
            term, _, name = key.partition(".")
            if term not in parts:
                known = ", ".join(parts) or "none"
                raise FormatError(f"state: expected terms among those of this fit ({known}), got {term!r}")
            parts[term][name] = each
        for term, tensors in parts.items():
            self.terms[term].load_state_dict(tensors)

    def _adam(self, parameters: dict[str, Tensor]) -> GaussianAdam:
        return GaussianAdam(parameters, self._rates(1, parameters), selective=self.schedule.selective)

    def _rates(self, number: int, parameters: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """Adam's rates in step `number`, by the names of parameters."""
        schedule = self.schedule
        usual = schedule.rates_at(number, self.extent, parameters)
        own = {name: each.rate.at(number, schedule.steps) for name, each in self._own.items()}
        return {**usual, **self.view_models.own_rates(number, schedule.steps), **own}

    def _raise_degree(self, number: int) -> None:
        """Give harmonics the degree of this step: coefficients of higher degrees do not exist before."""
        degree = min(self.schedule.degree, number // self.schedule.degree_every)
        sh = self.optimizer.parameters.get("sh")
        if sh is not None and sh.shape[1] < coefficient_count(degree):
            self.optimizer.widen("sh", coefficient_count(degree))

    def _compare(self, number: int, batch: ViewBatch, seen: SeenViews | None) -> Comparison:
        gaussians, schedule = self.gaussians(), self.schedule
        terms = active([*self.terms.values()], number)
        needs_depth = any(term.needs_depth for term, _ in terms)
        info, background = self.strategy.info(number), batch.background if self.sky is None else "black"
        cameras, shown = self.view_models.seen(seen, batch.cameras, gaussians)
        behind = spread_background(background, cameras.batch_shape[0])
        rendering = render(
            shown, cameras, behind, schedule.backend, needs_depth, False, info, batch.grid, filter=self.filter
        )
        if self.sky is not None:
            sky = batch.grid.of(self.sky.seen_by(cameras))
            rendering = replace(rendering, color=self.sky.behind(rendering, sky))
        color = self.view_models.picture(seen, rendering.color)
        targets, masks = batch.compared()
        weights, goals = masks, targets
        if seen is not None and targets.shape[1] == 4:
            goals = self.view_models.composed(seen, targets.to(color.device), behind, cameras.batch_shape[0])
        if self.robust is not None:
            weights = self.robust.weigh(number, color, goals, background, masks)
        loss = photometric_loss(color, goals, background, weights, schedule.ssim_weight)
        draws, middle = Draws(schedule.seed, number), middle_of_each(rendering, cameras, batch.count)
        inputs = TermInputs(
            number, self.extent, gaussians, *middle, targets, masks, background, batch.depth, draws, schedule.backend,
            self.filter,
        )  # fmt: skip
        errors = None
        if self.strategy.wants_errors(number):
            values = residuals(color, goals, background, masks)
            errors = Errors(middle[1], values if masks is None else values * masks, batch.grid)
        found = ((term.name, term(inputs), weight) for term, weight in terms)
        weighted = {name: weight * each for name, each, weight in found if each is not None}
        return Comparison(gaussians, cameras, rendering, errors, loss, weighted)

    def keep(self, kept: Bool[Tensor, " K"]) -> int:
        """Remove all Gaussians but these between two steps; returns how many. At least one must be kept."""
        if not bool(kept.any()):
            raise InputError(f"kept: expected at least one Gaussian, got none of {len(kept)}")
        removed = len(kept) - int(kept.sum())
        if removed:
            self.optimizer.gather(kept)
            self.strategy.follow(kept)
        return removed

    def _remove_broken(self) -> int:
        """Remove Gaussians with parameters that are not finite; returns how many."""
        tensors = [
            each.detach().flatten(1) if each.ndim > 1 else each.detach() for each in self.optimizer.parameters.values()
        ]
        finite = torch.stack([each.isfinite().reshape(len(each), -1).all(dim=1) for each in tensors]).all(dim=0)
        broken = len(finite) - int(finite.sum())
        if broken == len(finite):
            raise InputError(f"gaussians: expected at least one that is finite, got {broken} that are not")
        if broken:
            self.optimizer.gather(finite)
            self.strategy.follow(finite)
        return broken
