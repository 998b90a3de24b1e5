"""What every training loop does: steps, log, checkpoints and interruptions. A subclass says what a batch costs."""

from __future__ import annotations

import contextlib
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.data import PretrainingLoader, UnreadableCounter
from splatlearn.data.loader import TrainingDataset
from splatlearn.objectives import ObjectiveValue
from splatlearn.training.checkpoint import Progress, checkpoint_folders, load_checkpoint, save_checkpoint
from splatlearn.training.device import choose_device, choose_precision, make_accelerator
from splatlearn.training.finetune_recipe import FinetuneRecipe
from splatlearn.training.guard import FiniteGuard
from splatlearn.training.logbook import Logbook
from splatlearn.training.recipe import Recipe
from splatlearn.training.run_folder import open_run_folder
from splatlearn.training.schedule import CosineSchedule
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


class TrainingLoop(ABC):
    """A run: its model, optimiser, batches, log and folder; made once and run once.

    - `recipe`: a resolved one.
    - `model`: what is trained, with fresh or pre-trained weights; a resumed run's come from its checkpoint.
    - `dataset`: what it is trained on.

    The folder comes after everything that can be wrong with the recipe, so that a mistake leaves nothing behind.
    Raises ValueError or a subclass for a recipe, data or folder that cannot work.
    """

    def __init__(self, recipe: Recipe | FinetuneRecipe, model: nn.Module, dataset: TrainingDataset[Any, Any]) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.run.device)
        self.precision = choose_precision(recipe.run.precision, self.device)
        self._make_loader(dataset)
        self.folder = open_run_folder(recipe, recipe.run)
        self.accelerator = make_accelerator(self.device, list(recipe.run.trackers), str(self.folder))
        self.model = self.accelerator.prepare(model)
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(),
            lr=0.0,
            betas=recipe.optimizer.betas,
            fused=self.device.type in {"cpu", "cuda"},
        )
        self.guard = FiniteGuard(self.device)
        self.unreadable = UnreadableCounter()
        self.fresh_unreadable: list[tuple[str, str]] = []
        self.enlarged: set[str] = set()
        self.told_of_enlarged = False
        self.note = ""  # what else the bar says
        self.step = self._resume()
        self.started_at = self.step
        self.logbook = Logbook(self.folder, self.accelerator, self.step, self.total)

    @abstractmethod
    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups of `self.model`; `lr_scale` in one is a factor of the learning rate."""

    @abstractmethod
    def _forward(self, batch: Any, epoch: int, place: int) -> ObjectiveValue:
        """The loss of the batch that comes at a place in an epoch."""

    @abstractmethod
    def _greet(self) -> None:
        """Say what begins."""

    def _clip(self) -> Tensor:
        """Called when the gradients are there: clip them; returns their norm before."""
        limit = self.recipe.optimizer.clip_norm
        return self.guard.clip(self._trained(), self.optimizer, math.inf if limit is None else limit)

    def _trained(self) -> nn.Module:
        """What the optimiser trains."""
        return self.model

    def _after_step(self) -> None:
        """Called when a step is done and counted."""
        return None

    def _after_epoch(self) -> None:
        """Called when the last step of an epoch is done and counted."""
        return None

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds beside model and optimiser: tensors by name, by name of their file."""
        return {}

    def _restore(self, folder: Path) -> None:
        """Take back what `_more_state` gave to a checkpoint."""
        return None

    def _make_loader(self, dataset: TrainingDataset[Any, Any]) -> None:
        optimizer, device = self.recipe.optimizer, self.device
        assert optimizer.base_learning_rate is not None and optimizer.warmup_epochs is not None
        assert optimizer.epochs is not None
        workers = _workers(self.recipe.data.workers, device)
        self.loader = PretrainingLoader(dataset, optimizer.batch_size, workers, pin_memory=device.type == "cuda")
        self.steps_per_epoch = self.loader.steps_per_epoch // optimizer.accumulate
        if not self.steps_per_epoch:
            raise ValueError(
                f"accumulate: expected at most {self.loader.steps_per_epoch} for {len(dataset)} images in batches of "
                f"{optimizer.batch_size}, got {optimizer.accumulate}"
            )
        self.images_per_step = optimizer.batch_size * optimizer.accumulate
        self.epochs = optimizer.epochs
        self.total = self.steps_per_epoch * self.epochs
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
        self._restore(saved[-1])
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
                self._after_step()
                if self.step % self.recipe.run.log_every == 0 or self.step == end or stop:
                    self._flush()
                if self.step % self.steps_per_epoch == 0:
                    self._after_epoch()
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

    def _train_step(self, batches: list[Any]) -> None:
        rate = self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        epoch, place = divmod(self.step, self.steps_per_epoch)
        parts: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                value = self._forward(batch, epoch, place * len(batches) + index)
                self.accelerator.backward(value.loss / len(batches))
            for name, part in {"loss": value.loss.detach(), **_named_parts(value), **value.measures}.items():
                parts[name] = parts.get(name, 0.0) + part / len(batches)
        parts["grad_norm"] = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(parts)

    def _batches(self) -> Generator[Any, None, None]:
        """Micro-batches from where the run stands, epoch after epoch."""
        per_step = self.recipe.optimizer.accumulate
        epoch, first = divmod(self.step, self.steps_per_epoch)
        used, whole = self.steps_per_epoch * per_step, self.loader.steps_per_epoch
        batches = self.loader.batches(epoch, first * per_step, self.epochs - epoch)
        for place, batch in enumerate(batches, first * per_step):
            # With accumulation an epoch's last batches may not fill a step.
            if place % whole < used:
                yield batch

    def _next(self, batches: Iterator[Any]) -> Any:
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
        self._report_images()
        line = f"loss {self.last_loss:.4f} · {speed:.0f} images/s · data wait {share:.0%}"
        self.logbook.flush(self.step, line + self.note)
        self.losses, self.waited = [], 0.0
        # A share of very few images says little: one bad file in the first batch is not a bad data set.
        sure = min(len(self.loader.dataset), 1000)
        seen = min(len(self.loader.dataset), max(sure, self.step * self.images_per_step))
        self.unreadable.check(self.recipe.data.max_unreadable, seen)

    def _report_images(self) -> None:
        """Name the images met since the last flush that cannot be read, and once one that is small."""
        for name, reason in self.fresh_unreadable:
            self.logbook.write({"step_of_status": self.step, "unreadable": name, "reason": reason})
            self.logbook.say(f"skipped an unreadable image: {name} ({reason})")
        self.fresh_unreadable = []
        if self.enlarged and not self.told_of_enlarged:
            name, crop = min(self.enlarged), self.loader.dataset.crop
            self.logbook.write({"step_of_status": self.step, "enlarged": name})
            self.logbook.say(
                f"some images are smaller than the crop of {crop.height} × {crop.width} "
                f"px and are enlarged, {name} for one; a model of a smaller image size would see them as they are"
            )
            self.told_of_enlarged = True

    def _save(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        progress = Progress(self.step, self.step * self.images_per_step, dict(self.unreadable.reasons))
        save_checkpoint(
            self.folder, model, self.optimizer, progress, self.recipe.run.keep_checkpoints, self._more_state()
        )


def _named_parts(value: ObjectiveValue) -> dict[str, Tensor]:
    """The terms, unless the only one says what the loss says."""
    return {f"loss_{name}": part for name, part in value.parts.items()} if len(value.parts) > 1 else {}


def _workers(asked: int | None, device: torch.device) -> int:
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores) if device.type == "cuda" else 1
