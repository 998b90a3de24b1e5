"""The pre-training loop."""

from __future__ import annotations

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.core.device import choose_precision
from splatlearn.data import ImageSource, PretrainingDataset, RandomResizedCrop
from splatlearn.data.loading.batch import Batch
from splatlearn.evaluation.features.extraction import Extraction
from splatlearn.models import GMAE, MAE
from splatlearn.objectives import ObjectiveValue
from splatlearn.objectives.processes import average_gradients
from splatlearn.objectives.weighted import mean_value
from splatlearn.runs.checkpoints import open_tensors
from splatlearn.runs.folder import RunFolder
from splatlearn.runs.processes import Processes
from splatlearn.training.loop.engine import TrainingLoop
from splatlearn.training.loop.guard import finite_or_nan
from splatlearn.training.loop.parameter_groups import parameter_groups
from splatlearn.training.loop.processes import is_sharded, share_out
from splatlearn.training.loop.state import whole_weights
from splatlearn.training.pretraining.cost import PretrainingCost
from splatlearn.training.pretraining.gaussian_measures import gaussian_measures
from splatlearn.training.pretraining.online_probe import OnlineProbe
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.pretraining.side_by_side import SideBySide, parts_worth_it
from splatlearn.training.pretraining.starting import new_model, start_weights
from splatlearn.training.result import RunResult

STATE = "mutual_information"
"""File of a checkpoint with the projector, the estimator and their optimisers' moments."""
MEASURED = 8
"""Images of a batch whose Gaussians are measured for the log."""


class Pretraining(TrainingLoop):
    """The training loop with the networks of the objective, and probes."""

    recipe: Recipe
    cost: PretrainingCost

    def __init__(self, recipe: Recipe, folder: RunFolder, source: ImageSource, processes: Processes) -> None:
        assert recipe.data.crop_scale is not None
        model = new_model(recipe)
        cost = PretrainingCost(
            recipe, model, processes.device, choose_precision(recipe.run.precision, processes.device)
        )
        self.mutual = cost.mutual
        self.told_of_estimator = False
        # One process probes, and the others wait for it.
        probes = recipe.probe.probe_every and processes.main
        self.probe = OnlineProbe(recipe.probe, source) if probes else None
        crop = RandomResizedCrop(*model.image_size, scale=recipe.data.crop_scale, flip=recipe.data.flip)
        dataset = PretrainingDataset(source, crop, cost.patches, recipe.run.seed)
        super().__init__(recipe, folder, model, dataset, cost, processes)

    def run(self) -> RunResult:
        """Train until the last step, `stop_after` or an interruption."""
        self.side_by_side = SideBySide()
        try:
            return super().run()
        finally:
            self.side_by_side.close()

    def _begin(self, model: nn.Module) -> None:
        assert isinstance(model, MAE | GMAE)
        start_weights(model, self.recipe)

    def _share_networks(self) -> None:
        share_out(self.mutual.projector, self.model)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        options = self.recipe.optimizer
        return parameter_groups(self._trained(), options.weight_decay, bool(options.decay_tokens))

    def _trained(self) -> nn.Module:
        return nn.ModuleList([self.model, self.mutual.projector])

    def _pass(self, batch: Batch, epoch: int, place: int, passes: int) -> ObjectiveValue:
        parameters = [each for each in self._trained().parameters() if each.requires_grad]
        parts = 1
        if self.device.type == "cpu" and self.processes.count == 1 and self.cost.comes_in_parts:
            parts = parts_worth_it(len(batch), math.prod(self.cost.grid), parameters)
        if parts == 1:
            return super()._pass(batch, epoch, place, passes)

        def costing(cost: PretrainingCost, part: Batch) -> tuple[Tensor, ObjectiveValue]:
            value = cost(self.model, part, epoch, place)
            return finite_or_nan(value.loss) / (passes * parts), value

        # A cost remembers the Gaussians of its last call: each thread has its own, the run's those of the first part.
        costs = [self.cost, *(copy.copy(self.cost) for _ in range(parts - 1))]
        forward = [partial(costing, *each) for each in zip(costs, batch.parts(parts), strict=True)]
        return mean_value(self.side_by_side(forward, parameters))

    def _compares_images(self) -> bool:
        return bool(self.mutual.terms)

    def _clip(self) -> Tensor:
        if not is_sharded(self.mutual.projector):
            average_gradients(self.mutual.projector)
        return super()._clip()

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        tensors = self.mutual.tensors(self.optimizer)
        return {STATE: tensors} if tensors else {}

    def _restore(self, folder: Path) -> None:
        if self.mutual.tensors(self.optimizer):
            self.mutual.restore(open_tensors(folder, STATE), self.optimizer)

    def _whole_model(self) -> nn.Module:
        model = self._unwrapped()
        if not is_sharded(model):
            return model
        weights = whole_weights(model)
        copy = new_model(self.recipe)
        copy.load_state_dict(weights)
        return copy.to(self.device)

    def _measures(self) -> dict[str, Tensor]:
        model, gaussians = self._unwrapped(), self.cost.gaussians
        if gaussians is None or not isinstance(model, GMAE):
            return {}
        return gaussian_measures(gaussians[:MEASURED], model.camera(*model.image_size), model.config.largest_scale)

    def _after_epoch(self) -> None:
        epoch, options = self.step // self.steps_per_epoch, self.recipe.probe
        if not options.due(epoch, self.epochs):
            return
        with self.log.pause():
            model = self._whole_model()
            scores = self.processes.first(lambda: self._scores(model))
        self.logbook.write({"step_of_status": self.step, "probe_epoch": epoch, **scores})
        self.log.note = f" · kNN {scores['probe_knn']:.1%}, linear {scores['probe_linear']:.1%}"

    def _scores(self, model: nn.Module) -> dict[str, float]:
        assert self.probe is not None and isinstance(model, MAE | GMAE)
        return self.probe(
            model, Extraction(device=self.device, precision="bf16" if self.precision == "bf16" else "fp32")
        )

    def _flush(self) -> None:
        losses = [entry["loss_minimize"] for entry in self.log.steps if "loss_minimize" in entry]
        super()._flush()
        if not losses:
            return
        off = (torch.stack(losses) == 0).float().mean().item()
        self.logbook.write({"step_of_status": self.step, "minimize_off": off})
        if off > 0.5 and not self.told_of_estimator:
            self.logbook.say(
                f"the minimise term was off in {off:.0%} of the last steps: its estimator described the latents no "
                "better than it did untrained; lower estimator_learning_rate or raise estimator_steps"
            )
            self.told_of_estimator = True

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        shape, processes = self.shape, self.processes.count
        shared = f", {shape.batch_size} images at a time in each of {processes} processes" if processes > 1 else ""
        self.logbook.say(
            f"{self.recipe.model} ({count / 1e6:.1f} M parameters) on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset)} images, {self.steps_per_epoch} steps an epoch, {self.total} steps{shared}"
            + (f", starting from {self.recipe.start_from}" if self.recipe.start_from and not self.step else "")
            + (f", going on from step {self.step}" if self.step else "")
        )
        self._say_left_out(self.loader.dataset.source)
        normalized = self.recipe.objective.normalize_targets
        if normalized and self.recipe.kind == "gmae":
            self.logbook.say(
                "normalize_targets is on: GMAE paints colours in [0, 1] and cannot reach standardised targets; the "
                "paper's ablation loses half of the linear-probe accuracy with it"
            )
        elif normalized:
            self.logbook.say(
                "normalize_targets is on (MAE's default): better features, but raw outputs are standardised patches; "
                "reports turn them back into colours with the original's statistics"
            )
