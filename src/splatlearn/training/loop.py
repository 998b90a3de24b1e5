"""The pre-training loop."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.data import (
    ImageSource,
    PretrainingDataset,
    PretrainingLoader,
    RandomResizedCrop,
    UnreadableCounter,
    open_source,
)
from splatlearn.data.loader import Batch
from splatlearn.models import create_model, mask_from_noise
from splatlearn.objectives import ObjectiveValue, WeightedSum, masked_mse
from splatlearn.training.checkpoint import Progress, checkpoint_folders, load_checkpoint, save_checkpoint
from splatlearn.training.device import choose_device, choose_precision, make_accelerator
from splatlearn.training.guard import FiniteGuard
from splatlearn.training.logbook import Logbook
from splatlearn.training.recipe import Recipe
from splatlearn.training.run_folder import open_run_folder
from splatlearn.training.schedule import CosineSchedule, parameter_groups
from splatlearn.training.signals import StopRequest


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    folder: Path
    steps: int
    """Optimiser steps done in all, resumed ones included."""
    total: int
    """Steps of the whole recipe."""
    loss: float
    """Mean loss of the last steps that were logged."""
    seconds: float
    """Time spent in this call's steps."""
    images_per_second: float
    interrupted: bool
    """Whether it stopped before the end."""


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


class _Pretraining:
    """What the loop holds on to; made once for a call of `pretrain`."""

    def __init__(self, recipe: Recipe, source: ImageSource) -> None:
        assert recipe.model is not None
        self.recipe = recipe
        self.device = choose_device(recipe.run.device)
        self.precision = choose_precision(recipe.run.precision, self.device)
        model = create_model(recipe.model, recipe.preset, recipe.run.seed, recipe.options)
        self.patch: int = model.patch
        height, width = model.image_size
        self.grid = (height // self.patch, width // self.patch)
        mask_from_noise(torch.zeros(1, self.grid[0] * self.grid[1]), self.grid, recipe.objective.mask_ratio)
        self.objective = reconstruction_objective(recipe, self.patch)

        # The folder comes after everything that can be wrong with the recipe, so that a mistake leaves nothing behind.
        self._make_loader(source, (height, width))
        self.folder = open_run_folder(recipe)
        self.accelerator = make_accelerator(self.device, list(recipe.run.trackers), str(self.folder))
        self.model = self.accelerator.prepare(model)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, recipe.optimizer.weight_decay),
            lr=0.0,
            betas=recipe.optimizer.betas,
            fused=self.device.type in {"cpu", "cuda"},
        )
        self.guard = FiniteGuard(self.device)
        self.unreadable = UnreadableCounter()
        self.fresh_unreadable: list[tuple[str, str]] = []
        self.enlarged: set[str] = set()
        self.told_of_enlarged = False
        self.step = self._resume()
        self.started_at = self.step
        self.logbook = Logbook(self.folder, self.accelerator, self.step, self.total)

    def _make_loader(self, source: ImageSource, size: tuple[int, int]) -> None:
        data, optimizer = self.recipe.data, self.recipe.optimizer
        assert data.crop_scale is not None
        assert optimizer.base_learning_rate is not None and optimizer.warmup_epochs is not None
        crop = RandomResizedCrop(size[0], size[1], scale=data.crop_scale, flip=data.flip)
        dataset = PretrainingDataset(source, crop, self.grid[0] * self.grid[1], self.recipe.run.seed)
        self.loader = PretrainingLoader(
            dataset, optimizer.batch_size, _workers(data.workers, self.device), pin_memory=self.device.type == "cuda"
        )
        self.steps_per_epoch = self.loader.steps_per_epoch // optimizer.accumulate
        if not self.steps_per_epoch:
            raise ValueError(
                f"accumulate: expected at most {self.loader.steps_per_epoch} for {len(source)} images in batches of "
                f"{optimizer.batch_size}, got {optimizer.accumulate}"
            )
        self.images_per_step = optimizer.batch_size * optimizer.accumulate
        self.total = self.steps_per_epoch * optimizer.epochs
        self.schedule = CosineSchedule(
            peak=optimizer.base_learning_rate * self.images_per_step / 256,
            warmup=optimizer.warmup_epochs * self.steps_per_epoch,
            total=self.total,
            minimum=optimizer.min_learning_rate,
        )

    def _resume(self) -> int:
        saved = checkpoint_folders(self.folder) if self.recipe.run.resume else []
        if not saved:
            return 0
        model = self.accelerator.unwrap_model(self.model)
        progress = load_checkpoint(saved[-1], model, self.optimizer)
        self.unreadable.add(progress.unreadable.items())
        return progress.step

    def run(self) -> RunResult:
        """Train to the end, or to where the run is told to stop."""
        self._greet()
        end = min(self.total, self.recipe.run.stop_after or self.total)
        self.model.train()
        self.losses: list[dict[str, Tensor]] = []
        self.clock, self.waited, self.seconds, self.last_loss = time.perf_counter(), 0.0, 0.0, float("nan")
        with contextlib.ExitStack() as stack:
            stack.callback(self.logbook.close)
            stop = stack.enter_context(StopRequest())
            batches = self._batches()
            while self.step < end and not stop:
                self._train_step([self._next(batches) for _ in range(self.recipe.optimizer.accumulate)])
                self.step += 1
                if self.step % self.recipe.run.log_every == 0 or self.step == end or stop:
                    self._flush()
                if self.step % self.recipe.run.checkpoint_every == 0 and self.step < end and not stop:
                    self._save()
            batches.close()
            if self.step > self.started_at:
                self._save()
        done = self.step - self.started_at
        return RunResult(
            folder=self.folder,
            steps=self.step,
            total=self.total,
            loss=self.last_loss,
            seconds=self.seconds,
            images_per_second=done * self.images_per_step / self.seconds if self.seconds else 0.0,
            interrupted=self.step < self.total,
        )

    def _train_step(self, batches: list[Batch]) -> None:
        rate = self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        parts: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                value = self._forward(batch)
                self.accelerator.backward(value.loss / len(batches))
            for name, part in {"loss": value.loss.detach(), **_named_parts(value)}.items():
                parts[name] = parts.get(name, 0.0) + part / len(batches)
        parts["grad_norm"] = self.guard.clip(self.model, self.optimizer, self.recipe.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(parts)

    def _forward(self, batch: Batch) -> ObjectiveValue:
        images = batch.images.to(self.device, non_blocking=True).float() / 255
        noise = batch.noise.to(self.device, non_blocking=True)
        mask = mask_from_noise(noise, self.grid, self.recipe.objective.mask_ratio)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            reconstruction = self.model(images, mask)
        return self.objective(reconstruction, images)

    def _batches(self) -> Generator[Batch, None, None]:
        """Micro-batches from where the run stands, epoch after epoch."""
        per_step = self.recipe.optimizer.accumulate
        epoch, first = divmod(self.step, self.steps_per_epoch)
        used, whole = self.steps_per_epoch * per_step, self.loader.steps_per_epoch
        batches = self.loader.batches(epoch, first * per_step, self.recipe.optimizer.epochs - epoch)
        for place, batch in enumerate(batches, first * per_step):
            # With accumulation an epoch's last batches may not fill a step.
            if place % whole < used:
                yield batch

    def _next(self, batches: Iterator[Batch]) -> Batch:
        began = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - began
        self.fresh_unreadable += self.unreadable.add(batch.unreadable)
        self.enlarged.update(batch.enlarged)
        return batch

    def _flush(self) -> None:
        """Write the lines of the steps since the last flush; the one place that waits for the device."""
        names = list(self.losses[0])
        rows = torch.stack([torch.stack([entry[name].float() for name in names]) for entry in self.losses]).tolist()
        now = time.perf_counter()
        elapsed, self.clock = now - self.clock, now
        self.seconds += elapsed
        first = self.step - len(rows)
        for offset, row in enumerate(rows):
            step = first + offset
            entry = {"step": step + 1, "epoch": step / self.steps_per_epoch, **dict(zip(names, row, strict=True))}
            self.logbook.write({**entry, "learning_rate": self.schedule(step)})
        speed = len(rows) * self.images_per_step / elapsed
        share = self.waited / elapsed
        self.last_loss = sum(row[0] for row in rows) / len(rows)
        skipped = self.guard.check(self.step)
        status = {"images_per_second": speed, "data_wait": share, "skipped_steps": skipped}
        self.logbook.write({"step_of_status": self.step, **status})
        for name, reason in self.fresh_unreadable:
            self.logbook.write({"step_of_status": self.step, "unreadable": name, "reason": reason})
            self.logbook.say(f"skipped an unreadable image: {name} ({reason})")
        if self.enlarged and not self.told_of_enlarged:
            name = min(self.enlarged)
            self.logbook.write({"step_of_status": self.step, "enlarged": name})
            self.logbook.say(
                f"some images are smaller than the crop of {self.grid[0] * self.patch} × {self.grid[1] * self.patch} "
                f"px and are enlarged, {name} for one; a model of a smaller image size would see them as they are"
            )
            self.told_of_enlarged = True
        self.logbook.flush(self.step, f"loss {self.last_loss:.4f} · {speed:.0f} images/s · data wait {share:.0%}")
        self.losses, self.waited, self.fresh_unreadable = [], 0.0, []
        # A share of very few images says little: one bad file in the first batch is not a bad data set.
        sure = min(len(self.loader.dataset), 1000)
        seen = min(len(self.loader.dataset), max(sure, self.step * self.images_per_step))
        self.unreadable.check(self.recipe.data.max_unreadable, seen)

    def _save(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        progress = Progress(self.step, self.step * self.images_per_step, dict(self.unreadable.reasons))
        save_checkpoint(self.folder, model, self.optimizer, progress, self.recipe.run.keep_checkpoints)

    def _greet(self) -> None:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        self.logbook.say(
            f"{self.recipe.model} ({count / 1e6:.1f} M parameters) on {self.device.type}, {self.precision}: "
            f"{len(self.loader.dataset.source)} images, {self.steps_per_epoch} steps an epoch, {self.total} steps"
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


def _named_parts(value: ObjectiveValue) -> dict[str, Tensor]:
    """The terms, unless the only one says what the loss says."""
    return {f"loss_{name}": part for name, part in value.parts.items()} if len(value.parts) > 1 else {}


def _workers(asked: int | None, device: torch.device) -> int:
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores) if device.type == "cuda" else 1
