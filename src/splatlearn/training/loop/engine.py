"""The training loop: steps, log, checkpoints and interruptions. A subclass defines the cost of a batch."""

from __future__ import annotations

import contextlib
import math
import signal
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splatlearn.core.device import choose_precision, reading_workers
from splatlearn.core.errors import InputError
from splatlearn.data import PretrainingLoader, identify
from splatlearn.data.loading.loader import TrainingDataset
from splatlearn.images import left_out_of
from splatlearn.objectives import ObjectiveValue
from splatlearn.runs.checkpoint_store import Retention, set_aside
from splatlearn.runs.data_identity import Identities
from splatlearn.runs.folder import RunFolder, RunFolderError
from splatlearn.runs.log import Logbook, restore
from splatlearn.runs.processes import Processes
from splatlearn.runs.schedule import CosineSchedule
from splatlearn.runs.signals import ASKED_BY_SCHEDULER, SharedStop, StopRequest
from splatlearn.training.loop.checkpoint import (
    CheckpointError,
    Progress,
    Training,
    good_checkpoint,
    load_checkpoint,
    read_progress,
    save_checkpoint,
)
from splatlearn.training.loop.cost import Cost
from splatlearn.training.loop.guard import FiniteGuard, finite_or_nan
from splatlearn.training.loop.nonfinite import Captures, TakenStep
from splatlearn.training.loop.processes import AccelerateTrackers, distribute, gradients_stay, unwrapped
from splatlearn.training.loop.step_log import StepLog
from splatlearn.training.loop.step_shape import StepShape, step_shape
from splatlearn.training.loop.update_ratio import UpdateRatio
from splatlearn.training.result import RunResult
from splatlearn.training.training_recipe import TrainingRecipe

STATE_PER_WEIGHT = 3
"""Numbers stored for each weight in a checkpoint: the weight and Adam's two moments."""


class TrainingLoop(ABC):
    """A run: its model, optimiser, batches, log and folder; made once and run once, in every process of it.

    - `recipe`: a resolved one.
    - `folder`: entered; it is made after everything that can be wrong, so that a mistake leaves nothing behind.
    - `model`: what is trained, with fresh or pre-trained weights; a resumed run's come from its checkpoint.
    - `dataset`: what it is trained on; `cost`: what a batch of it costs.

    Raises InputError or a subclass for a recipe, data or folder that cannot work.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        folder: RunFolder,
        model: nn.Module,
        dataset: TrainingDataset[Any, Any],
        cost: Cost,
        processes: Processes,
    ) -> None:
        self.recipe, self.folder, self.cost, self.processes = recipe, folder, cost, processes
        self.device = processes.device
        processes.first(lambda: folder.check_recipe(recipe))
        checkpoint, damaged = processes.first(self._newest_checkpoint)
        progress = None if checkpoint is None else read_progress(checkpoint)[0]
        if checkpoint is None:
            self._begin(model)
        self._make_loader(dataset, progress)
        self.model = distribute(model, processes, recipe.run.parallel)
        self._share_networks()
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(),
            lr=0.0,
            betas=recipe.optimizer.betas,
            fused=self.device.type in {"cpu", "cuda"},
        )
        self.guard = FiniteGuard(self.device, recipe.run.max_skipped)
        self.step = 0 if progress is None else progress.step
        if checkpoint is not None:
            load_checkpoint(checkpoint, self._unwrapped(), self.optimizer)
            self._restore(checkpoint)
        self.started_at = self.step
        needed = STATE_PER_WEIGHT * sum(each.numel() * each.element_size() for each in model.parameters())
        processes.first(lambda: folder.make(recipe, self._identities(), needed))
        trackers = AccelerateTrackers(recipe.run.trackers, folder.path)
        self.logbook = Logbook(folder.path, self.step, self.total, processes.main, trackers)
        self.log = StepLog(self.logbook, self.loader, processes, self.shape.images_per_step, recipe.data.max_unreadable)
        self.log.unreadable.add(() if progress is None else progress.unreadable.items())
        self.captures = Captures(folder, recipe, self.precision, processes)
        self.ratio = UpdateRatio(processes)
        self.taken: TakenStep | None = None
        processes.first(lambda: self._set_aside(damaged))

    @abstractmethod
    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups of `self.model`; `lr_scale` in one is a factor of the learning rate."""

    @abstractmethod
    def _greet(self) -> None:
        """Print what is about to run."""

    def _say_left_out(self, *sources: object) -> None:
        """Count what lies beside the images of sources, if anything does."""
        if left_out := left_out_of(*sources):
            self.logbook.say(f"left out of the data: {left_out}")

    def _clip(self) -> Tensor:
        """Called when the gradients are there: clip them; returns their norm before."""
        limit = self.recipe.optimizer.clip_norm or math.inf
        return self.guard.clip(self._trained().parameters(), self.optimizer, limit)

    def _trained(self) -> nn.Module:
        """The model that the optimiser trains."""
        return self.model

    def _begin(self, model: nn.Module) -> None:
        """Called for a run without a checkpoint, before its model is shared out: give it other weights than fresh."""
        return None

    def _share_networks(self) -> None:
        """Called before the optimiser is made, to treat further networks as the model is."""
        return None

    def _finish(self) -> None:
        """Called when the last step of the whole run is done and saved."""
        return None

    def _compares_images(self) -> bool:
        """Whether the loss depends on which images share a forward pass."""
        return False

    def _measures(self) -> dict[str, Tensor]:
        """Further scalars of the step at hand, for the log; asked for when a log is due."""
        return {}

    def _after_step(self) -> None:
        """Called when a step is done and counted."""
        return None

    def _after_epoch(self) -> None:
        """Called when the last step of an epoch is done and counted."""
        return None

    def _more_state(self) -> dict[str, dict[str, Tensor]]:
        """Tensors that a checkpoint holds beside model and optimiser: by name, for each file."""
        return {}

    def _restore(self, folder: Path) -> None:
        """Restore what `_more_state` gave to a checkpoint."""
        return None

    def _identities(self) -> Identities:
        """Identities of the run's data, by part."""
        return {"train": identify(self.loader.dataset.source)}

    def _whole_model(self) -> nn.Module:
        """The model as it is where one process holds all of it; every process must ask for it."""
        return self._unwrapped()

    def _unwrapped(self) -> nn.Module:
        return unwrapped(self.model)

    def _newest_checkpoint(self) -> tuple[Path | None, dict[Path, str]]:
        return good_checkpoint(Path(self.recipe.run.out)) if self.recipe.run.resume else (None, {})

    def _set_aside(self, damaged: dict[Path, str]) -> None:
        for folder, problem in damaged.items():
            name = set_aside(folder).name
            self.logbook.say(f"{problem}; renamed it to {name} and went on from step {self.step}")
            self.logbook.write({"step_of_status": self.step, "damaged_checkpoint": folder.name, "problem": problem})

    def _make_loader(self, dataset: TrainingDataset[Any, Any], progress: Progress | None) -> None:
        optimizer, processes = self.recipe.optimizer, self.processes
        assert optimizer.base_learning_rate is not None and optimizer.warmup_epochs is not None
        assert optimizer.epochs is not None
        self.precision = choose_precision(self.recipe.run.precision, self.device)
        given = StepShape(optimizer.batch_size, optimizer.accumulate, processes.count)
        self.shape = step_shape(given, Path(self.recipe.run.out), progress, self._compares_images())
        self.loader = PretrainingLoader(
            dataset,
            self.shape.batch_size,
            reading_workers(self.device) if self.recipe.data.workers is None else self.recipe.data.workers,
            processes.rank,
            processes.count,
            pin_memory=self.device.type == "cuda",
        )
        self.steps_per_epoch = self.loader.steps_per_epoch // self.shape.accumulate
        if not self.steps_per_epoch:
            raise InputError(
                f"accumulate: expected at most {self.loader.steps_per_epoch} for {len(dataset)} images in batches of "
                f"{self.shape.images_per_pass}, got {self.shape.accumulate}"
            )
        self.epochs = optimizer.epochs
        self.total = self.steps_per_epoch * self.epochs
        self.schedule = CosineSchedule(
            peak=optimizer.base_learning_rate * self.shape.images_per_step / 256,
            warmup=optimizer.warmup_epochs * self.steps_per_epoch,
            total=self.total,
            minimum=optimizer.min_learning_rate,
        )

    def run(self) -> RunResult:
        """Train until the last step, `stop_after` or an interruption."""
        if self.folder.unlocked is not None:
            self.logbook.say(
                f"the file system of {self.folder.path} cannot lock it ({self.folder.unlocked}); make sure that no "
                "other process trains there"
            )
        self._greet()
        run = self.recipe.run
        end = self.total if run.stop_after is None else min(self.total, run.stop_after)
        self.model.train()
        with contextlib.ExitStack() as stack:
            stack.callback(self.logbook.close)
            request = stack.enter_context(StopRequest(self._say_stopping))
            stop = SharedStop(request, self.processes)
            batches = self._batches()
            self.log.start()
            heard = 0
            while self.step < end and not (heard := stop.heard()):
                due = (self.step + 1) % run.log_every == 0 or self.step + 1 == end
                self._train_step([self.log.next(batches) for _ in range(self.shape.accumulate)], due)
                self.step += 1
                self.logbook.advance(self.step)
                self._after_step()
                if due:
                    self._flush()
                if self.step % self.steps_per_epoch == 0:
                    self._after_epoch()
                if self.step % run.checkpoint_every == 0 and self.step < end:
                    self._save()
            batches.close()
            stop.close()
            if self.step > self.started_at:
                self._save()
            if self.step >= self.total:
                self._finish()
        return self._result(heard)

    def _say_stopping(self, number: int) -> None:
        """Say what happens between a signal and the end of the run."""
        again = "; Ctrl-C again stops at once, without one" if number == signal.SIGINT else ""
        self.logbook.say(f"stopping: step {self.step + 1} is being finished and a checkpoint written{again}")

    def _result(self, heard: int) -> RunResult:
        done, seconds = self.step - self.started_at, self.log.seconds
        return RunResult(
            folder=self.folder.path,
            steps=self.step,
            total=self.total,
            done=done,
            loss=self.log.last_loss,
            seconds=seconds,
            images_per_second=done * self.shape.images_per_step / seconds if seconds else 0.0,
            interrupted=self.step < self.total,
            requeue=heard in ASKED_BY_SCHEDULER,
            main=self.processes.main,
        )

    def _train_step(self, batches: list[Any], due: bool) -> None:
        rate = self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        epoch, place = divmod(self.step, self.steps_per_epoch)
        self.cost.at(self.step / self.total, self.step)
        before = {name: value.detach().clone() for name, value in self.cost.networks().items()}
        parts: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            with gradients_stay(self.model, index < len(batches) - 1):
                at = (place * len(batches) + index) * self.processes.count + self.processes.rank
                value = self._pass(batch, epoch, at, len(batches))
            for name, part in {"loss": value.loss.detach(), **_named_parts(value), **value.measures}.items():
                parts[name] = parts.get(name, 0.0) + part / len(batches)
        self._look_back()
        if self.guard.exhausted:
            self._flush()
        parts["grad_norm"] = self._clip()
        self.taken = TakenStep(self.step, self.step / self.total, epoch, place, batches, before, parts)
        with self.ratio.of(self._trained()) if due else contextlib.nullcontext():
            self.guard.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        self.log.steps.append(parts)

    def _pass(self, batch: Any, epoch: int, place: int, passes: int) -> ObjectiveValue:
        """Run the forward and backward pass of a batch, one of `passes` of its step."""
        value = self.cost(self.model, batch, epoch, place)
        (finite_or_nan(value.loss) / passes).backward()
        return value

    def _look_back(self) -> None:
        """Save the step before for a replay if it was skipped: the weights are still those it was taken with."""
        if self.taken is None or not self.guard.look():
            return
        if self.guard.in_a_row == 1:
            self.logbook.say(self.captures.save(self._whole_model(), self.taken))

    def _batches(self) -> Generator[Any, None, None]:
        """Micro-batches from where the run stands, epoch after epoch."""
        per_step = self.shape.accumulate
        epoch, first = divmod(self.step, self.steps_per_epoch)
        used, whole = self.steps_per_epoch * per_step, self.loader.steps_per_epoch
        batches = self.loader.batches(epoch, first * per_step, self.epochs - epoch)
        for place, batch in enumerate(batches, first * per_step):
            # With accumulation an epoch's last batches may not fill a step.
            if place % whole < used:
                yield batch

    def _flush(self) -> None:
        """Write what is known of the steps since the last flush; every process must call it."""
        if not self.log.steps:
            return
        numbers = {**self.ratio.measured(), **self._measures()}
        values = self.processes.mean(torch.tensor([float(value) for value in numbers.values()], dtype=torch.float64))
        status = dict(zip(numbers, values.tolist(), strict=True))
        self._look_back()
        removed = self._keep_folder()
        skipped = {"skipped_steps": float(self.guard.skipped)}
        first = self.step - len(self.log.steps)
        own = {
            step: {"epoch": step / self.steps_per_epoch, "learning_rate": self.schedule(step)}
            for step in range(first, self.step)
        }
        self.log.flush(self.step, {**skipped, **status}, own)
        self._secure(removed)
        self.guard.check(self.step)

    def _save(self) -> None:
        # What the log knows of the steps before a checkpoint must not be lost with those after it.
        self._flush()
        try:
            self._write_checkpoint()
        except CheckpointError:
            # Whoever removes the folder may do so at this moment.
            place = self._keep_folder()
            if place is None:
                raise
        else:
            place = self._keep_folder()
        self._secure(place)

    def _keep_folder(self) -> Path | None:
        """Write anew what others removed of the run's folder; every process must call it.

        Returns the folder of which something was removed, for `_secure`; None if all is there. Where another run has
        taken its place, `self.folder` is another folder then.
        """
        place = self.folder.path
        kept = self.processes.first(lambda: restore(self.folder, self.logbook))
        self.folder.path = kept or place
        return None if kept is None else place

    def _secure(self, place: Path | None) -> None:
        """Save the run after something was removed of its folder, if that is not None; every process must call it.

        Raises RunFolderError where another run has taken the folder's place.
        """
        if place is None:
            return
        self._write_checkpoint()
        if place != self.folder.path:
            raise RunFolderError(
                f"out: {place} was removed while the run trained, and holds something else now, which is left alone; "
                f"the run up to step {self.step} was saved in {self.folder.path}: go on with --out {self.folder.path} "
                "--resume"
            )

    def _write_checkpoint(self) -> None:
        progress = Progress(
            self.step,
            dict(self.log.unreadable.reasons),
            self.shape.images_per_step,
            self.shape.images_per_pass,
        )
        run = self.recipe.run
        keep = Retention(run.keep_checkpoints, run.keep_every * run.checkpoint_every)
        training = Training(self._unwrapped(), self.optimizer, self._more_state(), self.recipe.lasting().to_json())
        save_checkpoint(self.folder.path, training, progress, keep, self.processes)
        self.folder.saved = True


def _named_parts(value: ObjectiveValue) -> dict[str, Tensor]:
    """The terms, unless the only one says what the loss says."""
    return {f"loss_{name}": part for name, part in value.parts.items()} if len(value.parts) > 1 else {}
