"""Fine-tuning: a pre-trained encoder and a fresh head learn to classify labelled images."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from splatlearn.core.device import choose_device, choose_precision
from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.core.errors import FormatError, InputError, some_of
from splatlearn.data import (
    Drawing,
    RandomResizedCrop,
    SplatAugmentation,
    SplatDataset,
    TrainingDataset,
    identify,
    open_labelled_splats,
)
from splatlearn.data.labelled import Labelled, open_labelled
from splatlearn.models import (
    Classifier,
    SplatEncoderConfig,
    ViTConfig,
    classifier_from,
    load_classifier,
    load_model,
    load_splat_model,
    save_model,
)
from splatlearn.models.channels import check_reads_pictures
from splatlearn.models.folders.io import is_of_splats
from splatlearn.runs.checkpoints import open_tensors
from splatlearn.runs.data_identity import Identities
from splatlearn.runs.folder import RunFolder, entered
from splatlearn.runs.processes import Processes
from splatlearn.training.finetuning.augment import check_kornia
from splatlearn.training.finetuning.cost import FinetuneCost, SplatFinetuneCost
from splatlearn.training.finetuning.data import FinetuneDataset
from splatlearn.training.finetuning.recipe import FinetuneRecipe
from splatlearn.training.finetuning.validation import ValidationImages, ValidationSamples, ValidationSets
from splatlearn.training.finetuning.weights import layer_decay_groups, moving_average
from splatlearn.training.loop.checkpoint import good_checkpoint
from splatlearn.training.loop.cost import Cost
from splatlearn.training.loop.engine import TrainingLoop
from splatlearn.training.loop.processes import check_trackers, join_processes
from splatlearn.training.result import RunResult

SCORES = "finetune.json"
AVERAGE = "average"
"""Folder in a finished run with the averaged weights, for `load_classifier`."""
SCHEMA = 1
"""Version of what `finetune.json` holds."""


@dataclass(frozen=True)
class FinetuneResult(RunResult):
    """How a fine-tuning run ended."""

    top1: float | None
    """Share of the validation images that the last epoch's weights classify rightly; None before the first epoch."""
    top1_average: float | None
    """The same of the weights' moving average; None without one."""


def finetune(recipe: FinetuneRecipe, data: Labelled | None = None) -> FinetuneResult:
    """Fine-tune a pre-trained encoder as the recipe says, into its run folder, and say how it went.

    `data` replaces `recipe.data.data` by images in memory or of one's own making. Raises InputError (or a subclass
    that names the thing) for a recipe, model, data or folder that cannot work, before the first step; NonFiniteError
    when training diverges. An interruption (Ctrl-C) ends after the step at hand, with a checkpoint.
    """
    options = recipe.data
    saved = good_checkpoint(Path(recipe.run.out))[0] if recipe.run.resume else None
    # A run that goes on does not need the model that it began with.
    splats = is_of_splats(recipe.model if saved is None else saved)
    if not splats and recipe.augment.rand_augment > 0:
        check_kornia()
    if data is None:
        opened = open_labelled_splats(options.data) if splats else None
        data = opened or open_labelled(options.data, options.image_column, options.label_column)
    check_trackers(recipe.run.trackers)
    processes = join_processes(choose_device(recipe.run.device))
    with entered(recipe.run, processes) as folder:
        model = _start(recipe, data.classes, splats)
        recipe = recipe.resolved(len(model.encoder.blocks))
        return _Finetuning(recipe, folder, model, data, processes).result()


def _start(recipe: FinetuneRecipe, classes: tuple[str, ...], splats: bool) -> Classifier:
    """The classifier that the run starts from, or that its checkpoint holds."""
    run = recipe.run
    saved = good_checkpoint(Path(run.out))[0] if run.resume else None
    if saved is None:
        generator = torch.Generator().manual_seed(run.seed)
        if splats:
            return classifier_from(load_splat_model(recipe.model), classes, recipe.pooling, generator)
        pretrained = load_model(recipe.model)
        check_reads_pictures(pretrained.encoder.config)
        return classifier_from(pretrained, classes, recipe.pooling, generator)
    model = load_classifier(saved)
    if model.config.classes != classes:
        raise InputError(
            f"data: expected the classes that the run in {run.out} began with, {some_of(model.config.classes, 3)}, got "
            f"{some_of(classes, 3)}; resume with the same data, or choose another folder"
        )
    return model


Parts = tuple[Cost, TrainingDataset[Any, Any], ValidationSamples]
"""What fine-tuning on one kind of samples is made of."""


def _of_images(
    recipe: FinetuneRecipe, model: Classifier, data: Labelled, device: torch.device, precision: str
) -> Parts:
    options, encoder = recipe.augment, model.config.encoder
    assert isinstance(encoder, ViTConfig)
    crop = RandomResizedCrop(*encoder.image_size, scale=options.crop_scale, flip=options.flip)
    shown = recipe.data.center_crop, recipe.data.max_unreadable, encoder.channels
    validation = ValidationImages(data.val, encoder.image_size, *shown)
    dataset = FinetuneDataset(data.train, crop, options, recipe.run.seed)
    return FinetuneCost(recipe, model, device, precision), dataset, validation


def _of_splats(
    recipe: FinetuneRecipe, model: Classifier, data: Labelled, device: torch.device, precision: str
) -> Parts:
    encoder, options = model.config.encoder, recipe.splats
    assert isinstance(encoder, SplatEncoderConfig)
    drawing = Drawing(encoder.draw)
    augmentation = SplatAugmentation(options.turn, options.resize, options.shift)
    dataset = SplatDataset(data.train, drawing, augmentation, seed=recipe.run.seed)
    validation = ValidationSets(SplatDataset(data.val, drawing), recipe.data.max_unreadable)
    return SplatFinetuneCost(recipe, model, device, precision), dataset, validation


class _Finetuning(TrainingLoop):
    """The training loop with augmentation, layer-wise rates, a moving average and validation."""

    recipe: FinetuneRecipe

    def __init__(
        self, recipe: FinetuneRecipe, folder: RunFolder, model: Classifier, data: Labelled, processes: Processes
    ) -> None:
        assert recipe.optimizer.drop_path is not None
        self.classes = data.classes
        model.set_drop_path(recipe.optimizer.drop_path)
        self.average = moving_average(model, recipe.optimizer.ema_decay) if recipe.optimizer.ema_decay else None
        parts = _of_images if isinstance(model.config.encoder, ViTConfig) else _of_splats
        precision = choose_precision(recipe.run.precision, processes.device)
        cost, dataset, self.validation = parts(recipe, model, data, processes.device, precision)
        self.named, self.split = 0, data.split
        self.chance = float(np.bincount(data.val.labels).max()) / len(data.val)
        super().__init__(recipe, folder, model, dataset, cost, processes)
        if self.average is not None:
            self.average.to(self.device)
        self.scores = _known_scores(folder.path, self.step)

    def result(self) -> FinetuneResult:
        """Train until the last step, `stop_after` or an interruption."""
        result = self.run()
        return FinetuneResult(
            **vars(result), top1=self.scores.get("top1"), top1_average=self.scores.get("top1_average")
        )

    def _finish(self) -> None:
        target = self.folder.path / AVERAGE
        # A finished run that is resumed has it already, but for one that was killed between its last two writes.
        if self.average is not None and self.processes.main and (self.step > self.started_at or not target.exists()):
            save_model(self.average.module, target)

    def _identities(self) -> Identities:
        return {**super()._identities(), "validation": identify(self.validation.source)}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        options = self.recipe.optimizer
        assert options.layer_decay is not None
        return layer_decay_groups(self._classifier(), options.weight_decay, options.layer_decay)

    def _classifier(self) -> Classifier:
        model = self._unwrapped()
        assert isinstance(model, Classifier)
        return model

    def _after_step(self) -> None:
        if self.average is not None:
            self.average.update_parameters(self._classifier())

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        return {} if self.average is None else {"average": self.average.state_dict()}

    def _restore(self, folder: Path) -> None:
        if self.average is not None:
            self.average.load_state_dict(open_tensors(folder, "average").all())

    def _after_epoch(self) -> None:
        """Score the weights and their average on the validation images, where it is time to."""
        epoch = self.step // self.steps_per_epoch
        if epoch % self.recipe.data.validate_every and epoch != self.epochs:
            return
        self._flush()
        began = time.perf_counter()
        scores = self._scores(self._classifier(), "")
        if self.average is not None:
            scores |= self._scores(self.average, "_average")
        self._classifier().train()
        self._name_unreadable()
        self.logbook.write(
            {
                "step": self.step,
                "epoch": epoch,
                **{f"validation_{name}": value for name, value in scores.items()},
                "validation_seconds": time.perf_counter() - began,
            }
        )
        self._write(scores, epoch)
        note = f"epoch {epoch} · top-1 {scores['top1']:.1%}"
        if self.average is not None:
            note += f", averaged weights {scores['top1_average']:.1%}"
        self.logbook.flush(self.step, note)
        self.log.start()

    def _scores(self, model: nn.Module, suffix: str) -> dict[str, float]:
        batch_size = self.recipe.optimizer.batch_size
        scores = self.validation.score(model, batch_size, self.device, self.precision == "bf16", self.processes)
        return {f"top1{suffix}": scores.top1, f"loss{suffix}": scores.loss}

    def _name_unreadable(self) -> None:
        """Name the validation images that cannot be read, each once."""
        reasons = list(self.validation.unreadable.reasons.items())
        for name, reason in reasons[self.named :]:
            self.logbook.write({"step_of_status": self.step, "unreadable": name, "reason": reason})
            self.logbook.say(f"left out an unreadable validation {self.loader.dataset.unit}: {name} ({reason})")
        self.named = len(reasons)

    def _write(self, scores: dict[str, float], epoch: int) -> None:
        """Write `finetune.json`, the scores of the newest epoch and what they are to be read with."""
        images = len(self.validation.source) - len(self.validation.unreadable)
        # Of all draws of so many images (Wilson, 95 %).
        interval = binomtest(round(scores["top1"] * images), images).proportion_ci(method="wilson")
        self.scores = {
            "schema": SCHEMA,
            "model": self.recipe.model,
            "data": self.loader.dataset.source.description,
            "validation": self.split,
            "classes": list(self.classes),
            "train_images": len(self.loader.dataset),
            "validation_images": images,
            "epochs": epoch,
            "epochs_of": self.epochs,
            "steps": self.step,
            **scores,
            "top1_interval": [interval.low, interval.high],
            "chance": self.chance,
        }
        if self.processes.main:
            write_whole(self.folder.path / SCORES, json.dumps(self.scores, indent=2) + "\n")

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.logbook.say(
            f"{self.recipe.model}, {count / 1e6:.1f} M parameters, on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset)} {self.loader.dataset.unit}s of {len(self.classes)} classes, "
            f"{len(self.validation.source)} to validate on ({self.split}), {self.steps_per_epoch} steps an epoch, "
            f"{self.total} steps" + (f", going on from step {self.step}" if self.step else "")
        )
        self._say_left_out(self.loader.dataset.source, self.validation.source)


def _known_scores(folder: Path, step: int) -> dict[str, Any]:
    """What `finetune.json` says, unless it is of a step that will be done again."""
    try:
        known = read_object(folder / SCORES)
    except FormatError:  # the next validation writes it anew
        return {}
    steps = known.get("steps", 0)
    return known if isinstance(steps, int) and steps <= step else {}
