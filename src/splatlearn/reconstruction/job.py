"""The reconstruction of a scene from posed photographs: the loop over steps, its log, checkpoints and interruptions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from splatlearn.captures import Capture, Photographs
from splatlearn.captures.photographs import Photo
from splatlearn.core.device import choose_device
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError, SplatlearnError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.memory import available_memory
from splatlearn.evaluation.views.scores import SceneScores, score_views
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.checkpoint import SceneProgress, newest_scene, read_scene, save_scene
from splatlearn.reconstruction.planning import Expected, expected_cost, fitting_cap, steps_in
from splatlearn.reconstruction.recipe import SceneRecipe
from splatlearn.reconstruction.results import (
    SceneRun,
    is_random_background,
    open_capture,
    shown_background,
    write_scene,
    write_scores,
    write_snapshot,
)
from splatlearn.reconstruction.schedules import schedule_of, strategy_of
from splatlearn.reconstruction.starting import EXTENT, first_gaussians
from splatlearn.reconstruction.views import StepViews, share_at
from splatlearn.rendering.compositing import Background
from splatlearn.runs.checkpoint_store import set_aside
from splatlearn.runs.data_identity import DataIdentity
from splatlearn.runs.folder import RECIPE, RunFolder, entered
from splatlearn.runs.log import Logbook, restore
from splatlearn.runs.processes import Processes
from splatlearn.runs.signals import ASKED_BY_SCHEDULER, StopRequest

GIGABYTE = 1_000_000_000
PHOTO_SHARE = 3
"""The default memory for photographs is the free memory divided by this."""
NUMBERS_OF_STATE = 3
"""Of each parameter in a checkpoint: itself and Adam's two moments."""


class SceneDivergedError(SplatlearnError):
    """The loss of a reconstruction stayed not finite, or no photograph can be read any more."""


@dataclass(frozen=True)
class SceneResult:
    """How a reconstruction ended.

    - `folder`: of the run; `steps`, `total`: steps done in all, and those of the recipe; `done`: of this call.
    - `scores`: of held-out views at the end, None for an interrupted run or a capture that holds none out.
    - `gaussians`: the number; `seconds`: spent in all steps of the run.
    - `requeue`: whether it stopped because SIGTERM or SIGUSR1 asked it to.
    """

    folder: Path
    steps: int
    total: int
    done: int
    count: int
    seconds: float
    scores: SceneScores | None = None
    requeue: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether it stopped before the end."""
        return self.steps < self.total

    @property
    def run(self) -> SceneRun:
        """What the run left in its folder."""
        return SceneRun(self.folder)

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians in the capture's coordinates."""
        return self.run.gaussians


def run_recipe(recipe: SceneRecipe, capture: Capture | None = None) -> SceneResult:
    """Reconstruct a scene as the recipe says, into its run folder, and say how it went.

    `capture` replaces the one that the recipe names. Raises InputError (or a subclass that names the thing) for a
    recipe, capture or folder that cannot work, before the first step; SceneDivergedError where the fit cannot go on,
    after a checkpoint; CheckpointError where the folder takes no more. An interruption (Ctrl-C, SIGTERM, SIGUSR1) ends
    after the step at hand, with a checkpoint.
    """
    processes = Processes(choose_device(recipe.run.device))
    with entered(recipe.run, processes) as folder, contextlib.ExitStack() as stack:
        capture = open_capture(recipe) if capture is None else capture
        return _Reconstruction(recipe, folder, capture, processes, stack).run()


class _Reconstruction:
    """One run, made and run once; everything that can be wrong is found before its folder is made."""

    def __init__(
        self,
        recipe: SceneRecipe,
        folder: RunFolder,
        capture: Capture,
        processes: Processes,
        stack: contextlib.ExitStack,
    ) -> None:
        self.folder, self.capture, self.processes, self.device = folder, capture, processes, processes.device
        checkpoint, damaged = newest_scene(Path(recipe.run.out)) if recipe.run.resume else (None, {})
        resolved = recipe.resolved()
        budget = recipe.capture.photo_memory
        room = available_memory() // PHOTO_SHARE if budget is None else round(budget * GIGABYTE)
        if not capture.training:
            raise InputError("capture: expected photographs to fit, got a capture whose views are all held out")
        options: dict[str, Any] = {"max_size": resolved.capture.max_size, "frame": capture.to_unit}
        # Both kinds share the memory by their numbers.
        fitted = round(room * len(capture.training) / (len(capture.training) + len(capture.held_out)))
        self.training = stack.enter_context(Photographs(_views(capture, capture.training), budget=fitted, **options))
        self.held_out = stack.enter_context(
            Photographs(_views(capture, capture.held_out), budget=room - fitted, **options)
        )
        assert resolved.scene.max_gaussians is not None and resolved.scene.degree is not None
        cap = fitting_cap(resolved.scene.max_gaussians, resolved.scene.degree, self.training)
        start, self.origin = first_gaussians(resolved, capture, self.training, cap)
        if recipe.scene.minutes is not None and recipe.scene.steps is None:
            steps = steps_in(recipe.scene.minutes * 60, resolved, self.training, start, cap, self.device)
            scene = replace(recipe.scene, steps=steps)
            resolved = replace(recipe, scene=scene, schedule_steps=steps).resolved()
        self.recipe, self.cap = resolved, cap
        self.shown_background = shown_background(resolved, capture)
        folder.check_recipe(resolved)
        self.fit = SceneFit(
            start.to(self.device), EXTENT, strategy_of(resolved, start.count, cap), schedule_of(resolved)
        )
        self.progress = SceneProgress(0)
        if checkpoint is not None:
            self.progress, tensors = read_scene(checkpoint)
            self.fit.load_state_dict(tensors)
        self.views = StepViews(self.training, resolved.run.seed, self.progress.unreadable)
        self.started_at = self.progress.step
        assert resolved.scene.steps is not None and resolved.scene.degree is not None
        self.total = max(resolved.scene.steps, self.progress.step)
        numbers = 11 + 3 * (resolved.scene.degree + 1) ** 2
        needed = 4 * NUMBERS_OF_STATE * numbers * max(start.count, self.fit.optimizer.count)
        folder.make(resolved, {"train": identity_of(capture)}, needed)
        if checkpoint is not None:
            # An extended run goes on with its new number of steps.
            write_whole(folder.path / RECIPE, resolved.lasting().to_json())
        self.logbook = Logbook(folder.path, self.progress.step, self.total)
        self.last_psnr = math.nan
        self.last_loss = self.logbook.last_loss
        for bad, problem in damaged.items():
            self.logbook.say(f"{problem}; renamed it to {set_aside(bad).name} and went on from step {self.started_at}")

    def run(self) -> SceneResult:
        """Fit until the last step, `stop_after` or an interruption."""
        run = self.recipe.run
        self._greet()
        end = self.total if run.stop_after is None else min(self.total, run.stop_after)
        heard, scores = 0, None
        assert run.evaluate_every is not None
        with contextlib.ExitStack() as stack:
            stack.callback(self.logbook.close)
            request = stack.enter_context(StopRequest(self._say_stopping))
            if self.progress.step == 0 and end > 0:
                self._evaluate()
            while self.progress.step < end and not (heard := request.signal):
                self._step()
                step = self.progress.step
                if step % run.log_every == 0 or step == end:
                    self.logbook.flush(step, self._note())
                if step % run.evaluate_every == 0 and step < self.total:
                    self._evaluate()
                if step % run.checkpoint_every == 0 and step < end:
                    self._save()
            if self.progress.step > self.started_at:
                self._save()
            if self.progress.step >= self.total and self.progress.step > self.started_at:
                scores = self._finish()
        return SceneResult(
            folder=self.folder.path,
            steps=self.progress.step,
            total=self.total,
            done=self.progress.step - self.started_at,
            count=self.fit.optimizer.count,
            seconds=self.progress.seconds,
            scores=scores,
            requeue=heard in ASKED_BY_SCHEDULER,
        )

    def _step(self) -> None:
        """Make one step, and write it to the log."""
        begun, progress, scene = time.perf_counter(), self.progress, self.recipe.scene
        assert scene.steps is not None and scene.coarse is not None and self.recipe.schedule_steps is not None
        known = len(self.views.unreadable)
        target = self.views.at(progress.step, share_at(progress.step, self.recipe.schedule_steps, scene.coarse))
        if len(self.views.unreadable) > known:
            self._say_unreadable([*self.views.unreadable][known:])
        if target is None or self._lacks_photographs():
            self._give_up(f"{len(self.views.unreadable)} of {len(self.training)} photographs cannot be read")
            return
        pixels = target.pixels.to(self.device)
        weights = None if target.weights is None else target.weights.to(self.device)
        result = self.fit.step(_on(target.camera, self.device), pixels, weights, self._background(progress.step))
        self.last_loss = result.loss
        self.progress = replace(
            progress,
            step=progress.step + 1,
            seconds=progress.seconds + time.perf_counter() - begun,
            unreadable=dict(self.views.unreadable),
            skipped=progress.skipped + 1 if result.skipped else 0,
            removed=progress.removed + result.removed,
        )
        edits = {name: value for name, value in vars(result.edits).items() if value}
        self.logbook.write(
            {
                "step": self.progress.step,
                "loss": result.loss,
                "gaussians": self.fit.optimizer.count,
                "seconds": round(self.progress.seconds, 4),
                **edits,
                **({"removed": result.removed} if result.removed else {}),
            }
        )
        self.logbook.advance(self.progress.step)
        if result.removed:
            self.logbook.say(f"step {self.progress.step}: {result.removed} Gaussians were not finite and were removed")
        if self.progress.skipped >= self.recipe.run.max_skipped:
            self._give_up(f"the loss of {self.progress.skipped} steps in a row was not finite")

    def _background(self, step: int) -> Background:
        """What is behind the Gaussians in a step: the same in a run that is repeated."""
        if is_random_background(self.recipe, self.capture):
            return Draws(self.recipe.run.seed, step).background(1)[0].to(self.device)
        return "white" if self.recipe.scene.background == "white" else "black"

    def _evaluate(self) -> None:
        """Score some held-out views, or of a capture without any some that are fitted."""
        step, shown = self.progress.step, []
        chosen = self.held_out if len(self.held_out) else self.training
        count = min(self.recipe.run.evaluate_views, len(chosen))
        photos = self._readable(chosen, [round(each * (len(chosen) - 1) / max(1, count - 1)) for each in range(count)])
        scores = score_views(self._gaussians(), photos, self.shown_background, lambda photo, color: shown.append(color))
        if not scores.views:
            return
        self.last_psnr = scores.psnr
        self.logbook.write(
            {
                "step_of_status": step,
                "psnr": scores.psnr,
                "ssim": scores.ssim,
                "views": len(scores.views),
                "held_out": len(self.held_out) > 0,
                "gaussians": self.fit.optimizer.count,
                "seconds": round(self.progress.seconds, 4),
            }
        )
        try:
            write_snapshot(self.folder.path, step, shown[0])
        except OSError as error:
            self.logbook.say(f"the picture of step {step} is left out: {error.strerror or error}")

    def _finish(self) -> SceneScores | None:
        """Score all held-out views, and write the scores."""
        if not len(self.held_out):
            return None
        scores = score_views(
            self._gaussians(), self._readable(self.held_out, range(len(self.held_out))), self.shown_background
        )
        facts = {"step": self.progress.step, "gaussians": self.fit.optimizer.count, "seconds": self.progress.seconds}
        background = {"background": self.shown_background}
        write_scores(self.folder.path, {**facts, **background, **scores.as_dict()})
        self.logbook.write(
            {"step_of_status": self.progress.step, "psnr": scores.psnr, "ssim": scores.ssim, "views": len(scores.views),
             "held_out": True, **facts}
        )  # fmt: skip
        return scores

    def _readable(self, photographs: Photographs, indices: Any) -> Any:
        """The photographs at some places that can be read; the others are named once."""
        wanted = list(dict.fromkeys(indices))
        photographs.prefetch(wanted)
        for index in wanted:
            try:
                photo = photographs[index]
            except UnreadableImage as error:
                name = photographs.views[index].name
                if name not in self.views.unreadable:
                    self.views.unreadable[name] = error.reason
                    self._say_unreadable([name])
                continue
            yield self._on_device(photo)

    def _on_device(self, photo: Photo) -> Photo:
        return photo if self.device.type == "cpu" else replace(photo, camera=_on(photo.camera, self.device))

    def _gaussians(self) -> Gaussians:
        return self.fit.gaussians().detach()

    def _save(self) -> None:
        if (place := restore(self.folder, self.logbook)) is not None and place != Path(self.recipe.run.out):
            self.logbook.say(f"another run has taken the folder; this one goes on in {place}")
        keep = self.recipe.run.keep_checkpoints
        text = self.recipe.lasting().to_json()
        save_scene(self.folder.path, self.fit.state_dict(), text, self.progress, keep, self.processes)
        self.folder.saved = True
        write_scene(self.folder.path, self._gaussians(), self.capture.to_unit)

    def _give_up(self, why: str) -> None:
        """End with a checkpoint of what there is."""
        self._save()
        raise SceneDivergedError(
            f"{self.folder.path}: {why}; the scene of step {self.progress.step} was kept. Mend the photographs or "
            "change the options, and --resume"
        )

    def _lacks_photographs(self) -> bool:
        return len(self.views.unreadable) > max(1, self.recipe.capture.max_unreadable * len(self.training))

    def _say_unreadable(self, names: list[str]) -> None:
        for name in names:
            reason = self.views.unreadable[name]
            self.logbook.say(f"{name} cannot be read and is left out: {reason}")
            self.logbook.write({"step_of_status": self.progress.step, "unreadable": name, "reason": reason})

    def _say_stopping(self, number: int) -> None:
        again = "; Ctrl-C again stops at once, without one" if number == signal.SIGINT else ""
        self.logbook.say(f"stopping: step {self.progress.step + 1} is being finished and a checkpoint written{again}")

    def _note(self) -> str:
        made = self.progress.step - self.started_at
        rate = f"{made / max(self.progress.seconds - self._seconds_before, 1e-9):.1f} steps/s" if made else ""
        quality = "" if math.isnan(self.last_psnr) else f" · {self.last_psnr:.2f} dB"
        return f"{self.fit.optimizer.count:,} Gaussians · {rate}{quality}"

    def _greet(self) -> None:
        self._seconds_before = self.progress.seconds
        for problem in self.capture.problems:
            self.logbook.say(problem)
        self.logbook.say(self.training.description)
        held = f"{len(self.held_out)} held out" if len(self.held_out) else "none held out"
        going_on = f", going on from step {self.started_at}" if self.started_at else f" from {self.origin}"
        self.logbook.say(
            f"{len(self.training)} photographs to fit, {held}: {self.total:,} steps on {self.device}, "
            f"at most {self.cap:,} Gaussians{going_on}"
        )
        if self.cap < (self.recipe.scene.max_gaussians or 0):
            self.logbook.say(f"memory has room for {self.cap:,} of --max-gaussians {self.recipe.scene.max_gaussians:,}")
        if self.progress.step < self.total:
            expected: Expected = expected_cost(self.recipe, self.training, self.fit, self.cap, self.total)
            self.logbook.say(str(expected))


def identity_of(capture: Capture) -> DataIdentity:
    """The number of photographs, and a fingerprint of their names, lenses and cameras."""
    digest = hashlib.sha256()
    for view in capture.views:
        said = [view.name, view.split, view.lens.model, view.lens.width, view.lens.height, *view.lens.params]
        digest.update(json.dumps(said).encode())
        digest.update(view.world_to_camera.round(9).tobytes())
    return DataIdentity(len(capture.views), digest.hexdigest()[:16])


def _views(capture: Capture, indices: tuple[int, ...]) -> list[Any]:
    return [capture.views[index] for index in indices]


def _on(camera: Any, device: torch.device) -> Any:
    return camera if device.type == "cpu" else replace(camera, viewmats=camera.viewmats.to(device))
