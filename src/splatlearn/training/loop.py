"""The pre-training loop."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.data import ImageSource, PretrainingDataset, RandomResizedCrop, open_source
from splatlearn.data.loader import Batch
from splatlearn.evaluation.features import Extraction
from splatlearn.models import Mask, Reconstruction, create_model, join_masks, orthogonal_masks_from_noise
from splatlearn.objectives import ObjectiveValue, Term, WeightedSum, masked_mse
from splatlearn.objectives.processes import average_gradients
from splatlearn.training.checkpoint import load_more
from splatlearn.training.device import choose_device
from splatlearn.training.engine import RunResult, TrainingLoop
from splatlearn.training.mutual_information import MutualInformation
from splatlearn.training.online_probe import OnlineProbe
from splatlearn.training.recipe import Recipe
from splatlearn.training.schedule import parameter_groups

STATE = "mutual_information"
"""File of a checkpoint with the projector, the estimator and their optimisers' moments."""


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
        self._mask(torch.zeros(1, patches), recipe)
        self.mutual = MutualInformation(recipe.mutual, model, recipe.run.seed, choose_device(recipe.run.device))
        self.objective = WeightedSum({**reconstruction_term(recipe, model.patch), **self.mutual.terms})
        self.told_of_estimator = False
        self.probe = OnlineProbe(recipe.probe, source) if recipe.probe.probe_every else None
        crop = RandomResizedCrop(height, width, scale=recipe.data.crop_scale, flip=recipe.data.flip)
        super().__init__(recipe, model, PretrainingDataset(source, crop, patches, recipe.run.seed))

    def _mask(self, noise: Tensor, recipe: Recipe) -> Mask:
        """All masks of a batch of images, mask after mask."""
        count, ratio, pattern = recipe.mutual.masks, recipe.objective.mask_ratio, recipe.mutual.mask_pattern
        assert count is not None
        return join_masks(orthogonal_masks_from_noise(noise, self.grid, count, ratio, pattern))

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(self._trained(), self.recipe.optimizer.weight_decay)

    def _trained(self) -> nn.Module:
        return nn.ModuleList([self.model, self.mutual.projector])

    def _clip(self) -> Tensor:
        average_gradients(self.mutual.projector)
        return super()._clip()

    def _forward(self, batch: Batch, epoch: int, place: int) -> ObjectiveValue:
        mask = self._mask(batch.noise.to(self.device, non_blocking=True), self.recipe)
        images = batch.images.to(self.device, non_blocking=True).float() / 255
        images = images.expand(mask.batch // len(images), *images.shape).flatten(0, 1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            reconstruction = self.model(images, mask)
        if self.mutual.estimator is None:
            return self.objective(reconstruction, images)
        fit = self.mutual.estimator.learn(reconstruction, images)
        return dataclasses.replace(self.objective(reconstruction, images), measures={"estimator_fit": fit})

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        tensors = self.mutual.tensors(self.optimizer)
        return {STATE: tensors} if tensors else {}

    def _restore(self, folder: Path) -> None:
        if self.mutual.tensors(self.optimizer):
            self.mutual.restore(load_more(folder, STATE), self.optimizer)

    def _after_epoch(self) -> None:
        epoch = self.step // self.steps_per_epoch
        if self.probe is None or not self.probe.due(epoch, self.epochs):
            return
        began = time.perf_counter()
        model = self.accelerator.unwrap_model(self.model)
        precision = "bf16" if self.precision == "bf16" else "fp32"
        scores = self.probe(model, Extraction(device=self.device, precision=precision))
        self.logbook.write({"step_of_status": self.step, "probe_epoch": epoch, **scores})
        self.note = f" · kNN {scores['probe_knn']:.1%}, linear {scores['probe_linear']:.1%}"
        # The probes' time is not the training's.
        self.clock += time.perf_counter() - began

    def _flush(self) -> None:
        losses = [entry["loss_minimize"] for entry in self.losses if "loss_minimize" in entry]
        super()._flush()
        if not losses:
            return
        off = (torch.stack(losses) == 0).double().mean().item()
        self.logbook.write({"step_of_status": self.step, "minimize_off": off})
        if off > 0.5 and not self.told_of_estimator:
            self.logbook.say(
                f"the minimise term was off in {off:.0%} of the last steps: its estimator described the latents no "
                "better than it did untrained; lower estimator_learning_rate or raise estimator_steps"
            )
            self.told_of_estimator = True

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.logbook.say(
            f"{self.recipe.model} ({count / 1e6:.1f} M parameters) on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset)} images, {self.steps_per_epoch} steps an epoch, {self.total} steps"
            + (f", going on from step {self.step}" if self.step else "")
        )
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


def reconstruction_term(recipe: Recipe, patch: int) -> dict[str, tuple[float, Term]]:
    """The masked mean squared error of a resolved recipe, as a weighted term."""
    options = recipe.objective

    def reconstruction(made: Reconstruction, target: Tensor) -> Tensor:
        return masked_mse(made.image, target, made.mask, patch, bool(options.normalize_targets), options.visible_weight)

    return {"reconstruction": (1.0, reconstruction)}
