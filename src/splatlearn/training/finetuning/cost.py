"""The cost of a fine-tuning batch: augmentation, mixing and cross-entropy."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import SplatBatch
from splatlearn.models import Classifier, ViT, ViTConfig
from splatlearn.models.channels import fit_channels
from splatlearn.objectives import ObjectiveValue
from splatlearn.training.finetuning.augment import rand_augment
from splatlearn.training.finetuning.data import LabelledBatch
from splatlearn.training.finetuning.mixing import draw_mix, erase, mix_images, soft_targets
from splatlearn.training.finetuning.recipe import FinetuneRecipe
from splatlearn.training.loop.cost import Cost


class SplatFinetuneCost(Cost):
    """The loss of a recipe for a classifier of splat sets: cross-entropy, with label smoothing."""

    def __init__(self, recipe: FinetuneRecipe, model: Classifier, device: torch.device, precision: str) -> None:
        super().__init__(device, precision)
        self.recipe = recipe
        self.classes = len(model.config.classes)

    def __call__(self, model: nn.Module, batch: SplatBatch, epoch: int, place: int) -> ObjectiveValue:
        rng = generator(self.recipe.run.seed, epoch, place, Purpose.NOISE)
        # Stochastic depth draws from PyTorch's generator.
        with _seeded(int(rng.integers(2**63)), self.device), self.autocast():
            logits = model(batch.sets.to(self.device, non_blocking=True))
        labels = batch.labels.to(self.device, non_blocking=True)
        smoothing = self.recipe.optimizer.smoothing
        return ObjectiveValue(F.cross_entropy(logits.float(), labels, label_smoothing=smoothing), {})


class FinetuneCost(Cost):
    """The loss of a recipe for a classifier; what is random in it is a function of (seed, epoch, place)."""

    def __init__(self, recipe: FinetuneRecipe, model: Classifier, device: torch.device, precision: str) -> None:
        super().__init__(device, precision)
        self.recipe = recipe
        self.classes = len(model.config.classes)
        config = model.config.encoder
        assert isinstance(config, ViTConfig) and isinstance(model.encoder, ViT)
        self.size, self.channels = model.image_size, config.channels
        # Images are augmented as RGB ones.
        self.fill = config.input_mean if self.channels == 3 else config.input_mean * 3
        self.mean, self.std = (value.detach().clone() for value in (model.encoder.mean, model.encoder.std))

    def __call__(self, model: nn.Module, batch: LabelledBatch, epoch: int, place: int) -> ObjectiveValue:
        rng = generator(self.recipe.run.seed, epoch, place, Purpose.NOISE)
        options = self.recipe.augment
        mix = draw_mix(rng, options.mixup, options.cutmix, options.mix, *self.size)
        with _seeded(int(rng.integers(2**63)), self.device):
            images = mix_images(self._augmented(batch), mix)
            with self.autocast():
                logits = model(images)
        labels = batch.labels.to(self.device, non_blocking=True)
        targets = soft_targets(labels, self.classes, self.recipe.optimizer.smoothing, mix.share)
        return ObjectiveValue(F.cross_entropy(logits.float(), targets), {})

    def _augmented(self, batch: LabelledBatch) -> Tensor:
        images = batch.images.to(self.device, non_blocking=True).float() / 255
        if batch.operations.shape[1]:
            strengths = batch.strengths.to(self.device, non_blocking=True)
            images = rand_augment(images, batch.operations, strengths, self.fill)
        images = fit_channels(images, self.channels)
        if self.recipe.augment.erase == 0:
            return images
        mean, std = (value.to(self.device)[:, None, None] for value in (self.mean, self.std))
        # Standard normal once the encoder has normalised it.
        noise = mean + std * torch.randn_like(images)
        return erase(images, batch.boxes.to(self.device, non_blocking=True), noise)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None, None, None]:
    """Inside, PyTorch draws from a seed of its own; afterwards its generators go on where they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
