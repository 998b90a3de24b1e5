"""The pre-training loop of splat sets: the engine's, with a moving average and probes of sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from splatlearn.core.device import choose_precision
from splatlearn.data.splat_sets.augment import SplatAugmentation
from splatlearn.data.splat_sets.dataset import Drawing, SplatDataset
from splatlearn.data.splat_sets.samples import SplatSource
from splatlearn.models.splats.presets import SplatModel
from splatlearn.runs.checkpoints import open_tensors
from splatlearn.runs.folder import RunFolder
from splatlearn.runs.processes import Processes
from splatlearn.training.loop.engine import TrainingLoop
from splatlearn.training.loop.parameter_groups import parameter_groups
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.pretraining.starting import new_model, start_weights
from splatlearn.training.splats.cost import SplatCost

STATE = "target"
"""File of a checkpoint with the moving average."""


class SplatPretraining(TrainingLoop):
    """The training loop of splat-mae and splat-jepa."""

    recipe: Recipe
    cost: SplatCost

    def __init__(self, recipe: Recipe, folder: RunFolder, source: SplatSource, processes: Processes) -> None:
        splats = recipe.splats
        model = new_model(recipe)
        cost = SplatCost(recipe, model, processes.device, choose_precision(recipe.run.precision, processes.device))
        dataset = SplatDataset(
            source,
            Drawing(model.config.encoder.draw, bool(splats.replacement)),
            SplatAugmentation(splats.turn, splats.resize, splats.shift),
            model.config.encoder.groups,
            recipe.run.seed,
        )
        super().__init__(recipe, folder, model, dataset, cost, processes)

    def _begin(self, model: nn.Module) -> None:
        start_weights(model, self.recipe)
        if self.cost.target is not None:
            self.cost.target.encoder.load_state_dict(_encoder(model).state_dict())

    def _parameter_groups(self) -> list[dict[str, Any]]:
        options = self.recipe.optimizer
        return parameter_groups(self.model, options.weight_decay, bool(options.decay_tokens))

    def _after_step(self) -> None:
        if self.cost.target is not None:
            self.cost.target.follow(_encoder(self._unwrapped()), self.step / self.total)

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        return {STATE: self.cost.networks()} if self.cost.target is not None else {}

    def _restore(self, folder: Path) -> None:
        if self.cost.target is not None:
            self.cost.restore(open_tensors(folder, STATE))

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.logbook.say(
            f"{self.recipe.model} ({count / 1e6:.1f} M parameters) on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset)} splat sets, {self.steps_per_epoch} steps an epoch, {self.total} steps"
            + (f", starting from {self.recipe.start_from}" if self.recipe.start_from and not self.step else "")
            + (f", going on from step {self.step}" if self.step else "")
        )
        self._say_left_out(self.loader.dataset.source)


def _encoder(model: nn.Module) -> Any:
    assert isinstance(model, SplatModel)
    return model.encoder
