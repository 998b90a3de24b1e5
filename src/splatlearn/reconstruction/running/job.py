"""The reconstruction of a scene from posed photographs: the loop over steps, its log, checkpoints and interruptions."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from splatlearn.captures import Capture
from splatlearn.core.device import choose_device
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError, SplatlearnError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.memory import bytes_in
from splatlearn.evaluation.views.scores import SceneScores
from splatlearn.files.offset import NO_OFFSET
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.recipes import schedules
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.evaluator import Evaluator
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.reconstruction.results.scene_run import (
    SceneResult,
    SceneRun,
    is_random_background,
    offset_of,
    open_capture,
    shown_background,
    write_snapshot,
)
from splatlearn.reconstruction.results.small_file import SMALL
from splatlearn.reconstruction.results.writer import SceneWriter
from splatlearn.reconstruction.running import messages
from splatlearn.reconstruction.running.checkpoint import SceneProgress, frame_of, newest_scene, read_scene, save_scene
from splatlearn.reconstruction.running.cleaning import remove_floaters, removes_floaters_after
from splatlearn.reconstruction.running.combinations import check_combinations
from splatlearn.reconstruction.running.depth_prior import supervising_depths
from splatlearn.reconstruction.running.photos import identity_of, open_photographs, smoothing_of
from splatlearn.reconstruction.running.planning import expected_cost, fitting_cap, steps_in
from splatlearn.reconstruction.running.starting import EXTENT, first_gaussians, gaussians_of
from splatlearn.reconstruction.running.view_models import ViewCorrections
from splatlearn.reconstruction.running.views import StepViews, batches_of, downscale_at, grid_at
from splatlearn.rendering.compositing import Background
from splatlearn.runs.checkpoint_store import set_aside
from splatlearn.runs.folder import RECIPE, RunFolder, entered
from splatlearn.runs.log import Logbook, restore
from splatlearn.runs.processes import Processes
from splatlearn.runs.signals import ASKED_BY_SCHEDULER, StopRequest

NUMBERS_OF_STATE = 3
"""Numbers in a checkpoint for each parameter: itself and Adam's two moments."""


class ReconstructionError(SplatlearnError):
    """A reconstruction cannot go on: its loss stays not finite, or too many photographs cannot be read."""


def run_recipe(
    recipe: SceneRecipe, capture: Capture | None = None, evaluated: Callable[[Path], None] = lambda folder: None
) -> SceneResult:
    """Reconstruct a scene as the recipe says, into its run folder, and say how it went.

    `capture` replaces the one that the recipe names. `evaluated` is called with the folder after each evaluation on the
    way. Raises InputError (or a subclass that names the thing) for a recipe, capture or folder that cannot work, before
    the first step; ReconstructionError where the fit cannot go on, after a checkpoint; CheckpointError where the folder
    takes no more. An interruption (Ctrl-C, SIGTERM, SIGUSR1) ends after the step at hand, with a checkpoint.
    """
    processes = Processes(choose_device(recipe.run.device))
    with entered(recipe.run, processes) as folder, contextlib.ExitStack() as stack:
        capture = open_capture(recipe) if capture is None else capture
        return _Reconstruction(recipe, folder, capture, processes, stack).run(evaluated)


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
        self.folder, self.processes, self.device = folder, processes, processes.device
        checkpoint, damaged = newest_scene(Path(recipe.run.out)) if recipe.run.resume else (None, {})
        progress, tensors = (None, {}) if checkpoint is None else read_scene(checkpoint)
        # A run stays in the frame that it began in, whatever cameras have come since.
        self.capture = capture = capture if progress is None else replace(capture, to_unit=progress.to_unit)
        if not capture.training:
            raise InputError("capture: expected photographs to fit, got a capture whose views are all held out")
        resolved = recipe.resolved()
        assert resolved.scene.max_gaussians is not None and resolved.scene.degree is not None
        self.training, self.held_out = open_photographs(resolved, capture, stack)
        check_combinations(resolved, self.training, self.device)
        if progress is None:
            cap = fitting_cap(resolved.scene.max_gaussians, resolved.scene.degree, self.training)
            start, self.origin = first_gaussians(resolved, capture, self.training, cap)
            progress = SceneProgress(0, start.count, cap, frame_of(capture.to_unit))
        else:
            start, self.origin = gaussians_of(tensors, resolved.scene.primitive), f"step {progress.step}"
        if recipe.scene.minutes is not None and recipe.scene.steps is None:
            steps = steps_in(recipe.scene.minutes * 60, resolved, self.training, start, progress.cap, self.device)
            scene = replace(recipe.scene, steps=steps)
            resolved = replace(recipe, scene=scene, schedule_steps=steps).resolved()
        folder.check_recipe(resolved)
        strategy = schedules.strategy_of(resolved, progress.start, progress.cap)
        self.corrections = ViewCorrections(resolved, self.training, start.to(self.device))
        parts = strategy, schedules.schedule_of(resolved), schedules.terms_of(resolved), self.corrections.models
        self.fit = SceneFit(
            start.to(self.device), EXTENT, *parts,
            robust=schedules.robust_of(resolved), sky=schedules.sky_of(resolved, capture),
            smoothing=smoothing_of(resolved, self.training), shapings=schedules.shapings_of(resolved),
            filter=resolved.scene.filter,
        )  # fmt: skip
        if checkpoint is not None:
            self.fit.load_state_dict(tensors)
        self.recipe, self.progress, self.started_at = resolved, progress, progress.step
        self.seconds_before = progress.seconds
        depths = KnownDepths(capture)
        supervising = supervising_depths(resolved, depths, self.training)
        self.views = StepViews(self.training, resolved.run.seed, self._still_unreadable(), supervising)
        stack.callback(self.views.close)
        chosen = self.held_out if len(self.held_out) else self.training
        self.evaluator = Evaluator(chosen, shown_background(resolved, capture), depths, self._say_unreadable)
        self.evaluator.sky, self.evaluator.filter = self.fit.sky, resolved.scene.filter
        self.evaluator.in_light = None if self.corrections.colors is None else self.corrections.in_light
        assert resolved.scene.steps is not None and resolved.scene.degree is not None
        self.total = max(resolved.scene.steps, progress.step)
        numbers = 11 + 3 * (resolved.scene.degree + 1) ** 2
        needed = 4 * NUMBERS_OF_STATE * numbers * self.fit.optimizer.count
        folder.make(resolved, {"train": identity_of(capture)}, needed)
        if checkpoint is not None:
            # An extended run goes on with its new number of steps.
            write_whole(folder.path / RECIPE, resolved.lasting().to_json())
        self.writer = SceneWriter(folder.path, resolved, capture)
        self.logbook = Logbook(folder.path, progress.step, self.total)
        self.last_psnr = math.nan
        self.waited = 0.0
        """Seconds that steps of this process have waited for photographs."""
        for bad, problem in damaged.items():
            self.logbook.say(f"{problem}; renamed it to {set_aside(bad).name} and went on from step {self.started_at}")

    def _still_unreadable(self) -> dict[str, str]:
        """The photographs that could not be read before, without those that somebody has mended."""
        found = {}
        for index, view in enumerate(self.training.views):
            if view.name in self.progress.unreadable:
                try:
                    self.training[index]
                except UnreadableImage as error:
                    found[view.name] = error.reason
        return found

    def run(self, evaluated: Callable[[Path], None]) -> SceneResult:
        """Fit until the last step, `stop_after` or an interruption."""
        run = self.recipe.run
        self._greet()
        end = self.total if run.stop_after is None else min(self.total, run.stop_after)
        heard, scores, given = 0, None, None
        assert run.evaluate_every is not None
        with contextlib.ExitStack() as stack:
            stack.callback(self.logbook.close)
            request = stack.enter_context(StopRequest(self._say_stopping))
            if self.progress.step == 0 and end > 0:
                self._evaluate()
                evaluated(self.folder.path)
            while self.progress.step < end and not (heard := request.signal):
                self._step()
                step = self.progress.step
                if step % run.log_every == 0 or step == end:
                    self.logbook.flush(step, self._note())
                if step % run.evaluate_every == 0 and step < self.total:
                    self._evaluate()
                    evaluated(self.folder.path)
                if step % run.checkpoint_every == 0 and step < end:
                    self._save()
            if self.progress.step > self.started_at:
                self._save()
            if self.progress.step >= self.total and not self._is_finished():
                scores, given = self._finish()
            if self.progress.step >= self.total and run.target_size is not None:
                self._write_small(bytes_in(run.target_size))
        return SceneResult(
            folder=self.folder.path,
            steps=self.progress.step,
            total=self.total,
            done=self.progress.step - self.started_at,
            count=self.fit.optimizer.count,
            seconds=self.progress.seconds,
            waited=self.waited,
            scores=scores,
            given_scores=given,
            neighbours=self.evaluator.neighbours,
            requeue=heard in ASKED_BY_SCHEDULER,
        )

    def _step(self) -> None:
        """Make one step, and write it to the log."""
        begun, progress, scene, pace = time.perf_counter(), self.progress, self.recipe.scene, self.recipe.pace
        assert scene.steps is not None and scene.coarse is not None and self.recipe.schedule_steps is not None
        known = len(self.views.unreadable)
        downscale = downscale_at(progress.step, self.recipe.schedule_steps, scene.coarse)
        targets = self.views.step(progress.step, pace.views_per_step, downscale)
        self.waited += time.perf_counter() - begun
        for name in [*self.views.unreadable][known:]:
            self._say_unreadable(name, self.views.unreadable[name])
        if not targets or self._lacks_photographs():
            self._give_up(f"{len(self.views.unreadable)} of {len(self.training)} photographs cannot be read")
        grid = grid_at(progress.step, pace.stride, downscale, self.recipe.run.seed)
        result = self.fit.step_on(batches_of(targets, self._background(progress.step), grid, self.device))
        cleaned = 0
        if self.recipe.terms.remove_floaters and removes_floaters_after(progress.step + 1, self.recipe.schedule_steps):
            given = (self.training.camera(index) for index in range(len(self.training)))
            cleaned = remove_floaters(self.fit, self.corrections.placed(given))
        self.progress = replace(
            progress,
            step=progress.step + 1,
            seconds=progress.seconds + time.perf_counter() - begun,
            unreadable=dict(self.views.unreadable),
            skipped=progress.skipped + 1 if result.skipped else 0,
            removed=progress.removed + result.removed,
        )
        self.logbook.write(messages.step_entry(self.progress, result, self.fit.optimizer.count))
        self.logbook.advance(self.progress.step)
        if result.removed:
            self.logbook.say(messages.removed(self.progress.step, result.removed))
        if cleaned:
            self.logbook.say(messages.cleaned(self.progress.step, cleaned))
        if self.progress.skipped >= self.recipe.run.max_skipped:
            self._give_up(f"the loss of {self.progress.skipped} steps in a row was not finite")

    def _background(self, step: int) -> Background:
        """Return the background of a step, a function of the seed and the step."""
        if is_random_background(self.recipe, self.capture):
            return Draws(self.recipe.run.seed, step).background(1)[0].to(self.device)
        return "white" if self.recipe.scene.background == "white" else "black"

    def _evaluate(self) -> None:
        """Score some views, and keep a picture of the first."""
        gaussians, step = self._gaussians(), self.progress.step
        self.evaluator.poses.update(self.corrections.cameras())
        scores = self.evaluator.some(gaussians, self.recipe.run.evaluate_views)
        if scores.views:
            self.last_psnr = scores.psnr
            self._log_scores(scores)
        try:
            write_snapshot(self.folder.path, step, self.evaluator.picture(gaussians))
        except OSError as error:
            self.logbook.say(f"the picture of step {step} is left out: {error.strerror or error}")

    def _is_finished(self) -> bool:
        """Whether the scene and the scores of the last step are in the folder."""
        found = SceneRun(self.folder.path)
        is_scored = not len(self.held_out) or (found.scores or {}).get("step") == self.progress.step
        return self.progress.step == self.started_at and is_scored and self.writer.has_scene()

    def _finish(self) -> tuple[SceneScores | None, SceneScores | None]:
        """Score all held-out views, and write the scores and the scene.

        Returns the scores, and those of the given poses where poses are refined.
        """
        self._write_scene()
        findings = self.corrections.findings()
        for each in messages.found(findings):
            self.logbook.say(each)
        if not len(self.held_out):
            return None, None
        gaussians = self._gaussians()
        scores, given = self.evaluator.all(gaussians), None
        if not scores.views:
            self.logbook.say("no held-out photograph can be read: there are no scores")
            return None, None
        facts: dict[str, Any] = {
            "step": self.progress.step,
            "gaussians": self.fit.optimizer.count,
            "seconds": self.progress.seconds,
        }
        facts = {**facts, **findings}
        if "poses" in findings:
            self.evaluator.localise(gaussians)
            scores, given = self.evaluator.all(gaussians), scores
            facts["given_poses"] = given.means()
            self._write_scene()
        if (neighbours := self.evaluator.neighbours) is not None:
            facts["neighbours"] = neighbours.means()
        self._log_scores(scores)
        content = {**facts, "background": self.evaluator.background, **scores.as_dict()}
        self.writer.scores(content, self.progress.step)
        return scores, given

    def _log_scores(self, scores: SceneScores) -> None:
        count, is_held_out = self.fit.optimizer.count, len(self.held_out) > 0
        entry = messages.score_entry(self.progress, scores, count, is_held_out)
        found = self.corrections.findings()
        self.logbook.write(
            {**entry, **{f"{model}_{name}": each for model, parts in found.items() for name, each in parts.items()}}
        )

    def _gaussians(self) -> Gaussians:
        """The Gaussians in the frame of the given cameras."""
        return self.corrections.settled(self.fit.gaussians().detach())

    def _save(self) -> None:
        if (place := restore(self.folder, self.logbook)) is not None and place != Path(self.recipe.run.out):
            self.logbook.say(f"another run has taken the folder; this one goes on in {place}")
        keep = self.recipe.run.keep_checkpoints
        text = self.recipe.lasting().to_json()
        save_scene(self.folder.path, self.fit.state_dict(), text, self.progress, keep, self.processes)
        self.folder.saved = True
        self._write_scene()

    def _write_scene(self) -> None:
        """Write the scene, and the cameras where they are refined."""
        self.writer.scene(self._gaussians(), self.fit.sky, self.progress.step)
        if cameras := self.corrections.cameras():
            self.writer.cameras({**self.evaluator.poses, **cameras}, self.progress.step)

    def _write_small(self, size: int) -> None:
        """Write the compressed copy of the scene, unless it is there already."""
        if self.progress.step == self.started_at and self.writer.has_small(size):
            return
        self.logbook.say(messages.compressing(size))
        whole = self.writer.whole(self._gaussians(), self.fit.sky)
        try:
            found = self.writer.small(whole, size, self.progress.step)
        except InputError as error:
            self.logbook.say(f"{SMALL} is left out: {error}")
        else:
            self.logbook.say(messages.compressed(whole.count, found))

    def _give_up(self, why: str) -> NoReturn:
        """End with a checkpoint of what there is."""
        self._save()
        raise ReconstructionError(
            f"{self.folder.path}: {why}; the scene of step {self.progress.step} was kept. Mend the photographs or "
            "change the options, and --resume"
        )

    def _lacks_photographs(self) -> bool:
        return len(self.views.unreadable) > max(1, self.recipe.capture.max_unreadable * len(self.training))

    def _say_unreadable(self, name: str, reason: str) -> None:
        self.logbook.say(f"{name} cannot be read and is left out: {reason}")
        self.logbook.write({"step_of_status": self.progress.step, "unreadable": name, "reason": reason})

    def _say_stopping(self, number: int) -> None:
        self.logbook.say(messages.stopping(self.progress.step + 1, number))

    def _note(self) -> str:
        made, seconds = self.progress.step - self.started_at, self.progress.seconds - self.seconds_before
        return messages.note(self.fit.optimizer.count, made, seconds, self.last_psnr)

    def _greet(self) -> None:
        for problem in self.capture.problems:
            self.logbook.say(problem)
        photographs = self.training, self.held_out
        for each in messages.greeting(self.recipe, self.progress, photographs, self.total, self.device, self.origin):
            self.logbook.say(each)
        if (offset := offset_of(self.capture.to_unit)) != NO_OFFSET:
            self.logbook.say(messages.far_away(offset))
        if self.progress.step < self.total:
            expected = expected_cost(self.recipe, self.training, self.fit, self.progress.cap, self.total)
            self.logbook.say(str(expected))
