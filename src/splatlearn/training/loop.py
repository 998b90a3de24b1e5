"""The pre-training loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splatlearn.data import ImageSource, PretrainingDataset, RandomResizedCrop, open_source
from splatlearn.data.loader import Batch
from splatlearn.models import create_model, mask_from_noise
from splatlearn.objectives import ObjectiveValue, WeightedSum, masked_mse
from splatlearn.training.engine import RunResult, TrainingLoop
from splatlearn.training.recipe import Recipe
from splatlearn.training.schedule import parameter_groups


def pretrain(recipe: Recipe, source: ImageSource | None = None) -> RunResult:
    """Pre-train a model as the recipe says, into its run folder, and say how it went.

    `source` replaces `recipe.data.data` by images in memory or of one's own making. Raises ValueError (or a subclass
    that names the thing) for a recipe, data or folder that cannot work, before the first step; NonFiniteError when
    training diverges. An interruption (Ctrl-C) ends after the step at hand, with a checkpoint.
    """
    recipe = recipe.resolved()
    return _Pretraining(
        recipe, source or open_source(recipe.data.data, recipe.data.split, recipe.data.image_column)
    ).run()


class _Pretraining(TrainingLoop):
    """What pre-training adds to the loop: masks and their objective."""

    recipe: Recipe

    def __init__(self, recipe: Recipe, source: ImageSource) -> None:
        assert recipe.model is not None and recipe.data.crop_scale is not None
        model = create_model(recipe.model, recipe.preset, recipe.run.seed, recipe.options)
        height, width = model.image_size
        self.grid = (height // model.patch, width // model.patch)
        patches = self.grid[0] * self.grid[1]
        mask_from_noise(torch.zeros(1, patches), self.grid, recipe.objective.mask_ratio)
        self.objective = reconstruction_objective(recipe, model.patch)
        crop = RandomResizedCrop(height, width, scale=recipe.data.crop_scale, flip=recipe.data.flip)
        super().__init__(recipe, model, PretrainingDataset(source, crop, patches, recipe.run.seed))

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self.model, self.recipe.optimizer.weight_decay)

    def _forward(self, batch: Batch, epoch: int, place: int) -> ObjectiveValue:
        images = batch.images.to(self.device, non_blocking=True).float() / 255
        noise = batch.noise.to(self.device, non_blocking=True)
        mask = mask_from_noise(noise, self.grid, self.recipe.objective.mask_ratio)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            reconstruction = self.model(images, mask)
        return self.objective(reconstruction, images)

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.logbook.say(
            f"{self.recipe.model} ({count / 1e6:.1f} M parameters) on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset)} images, {self.steps_per_epoch} steps an epoch, {self.total} steps"
            + (f", going on from step {self.step}" if self.step else "")
        )
        normalized = self.recipe.objective.normalize_targets
        if normalized and self.recipe.method == "gmae":
            self.logbook.say(
                "normalize_targets is on: GMAE paints colours in [0, 1] and cannot reach standardised targets; the "
                "paper's ablation loses half of the linear-probe accuracy with it"
            )
        elif normalized:
            self.logbook.say(
                "normalize_targets is on (MAE's default): better features, but raw outputs are standardised patches; "
                "reports turn them back into colours with the original's statistics"
            )


def reconstruction_objective(recipe: Recipe, patch: int) -> WeightedSum:
    """The objective of a resolved recipe: masked mean squared error with its options."""
    options = recipe.objective

    def reconstruction(made, target: Tensor) -> Tensor:
        return masked_mse(made.image, target, made.mask, patch, bool(options.normalize_targets), options.visible_weight)

    return WeightedSum({"reconstruction": (1.0, reconstruction)})
