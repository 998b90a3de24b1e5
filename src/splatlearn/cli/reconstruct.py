"""`splatlearn reconstruct PHOTOS --out RUN`: posed photographs to a scene of Gaussians."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from typing import Annotated

import tyro

from splatlearn.cli.resuming import resumed_recipe
from splatlearn.reconstruction.recipes.recipe import SceneRecipe


def reconstruct_command(arguments: Sequence[str]) -> Callable[..., int]:
    """The command; what the run's recipe says with `--resume` is the default of every option."""
    stored = resumed_recipe("reconstruct", SceneRecipe, arguments)

    def command(recipe: Annotated[SceneRecipe, tyro.conf.arg(name="")]) -> int:
        """Reconstruct a scene of Gaussians from photographs with known cameras.

        The folder RUN holds scene.ply in the capture's coordinates, scores of held-out photographs, checkpoints, the
        log, and report.html, which is also written while the run goes on. Ctrl-C, SIGTERM and SIGUSR1 end the run after
        the current step, with a checkpoint; --resume continues it.
        """
        from splatlearn.cli.evaluate_scene import shown_depth
        from splatlearn.cli.scene_reports import reports_on_the_way, write_or_say
        from splatlearn.cli.stopped import INTERRUPTED, REQUEUE
        from splatlearn.reconstruction.running.job import run_recipe

        result = run_recipe(recipe, evaluated=reports_on_the_way())
        out = shlex.quote(str(result.folder))
        if not result.done and not result.interrupted and result.scores is None:
            print(
                f"{result.folder} is finished: all {result.total:,} steps had been done, and nothing was changed; "
                f"--steps with a larger number extends the run"
            )
            return 0
        if result.done or result.scores is not None:
            write_or_say(result.folder, with_views=not result.interrupted)
        if result.interrupted:
            print(
                f"stopped at step {result.steps:,} of {result.total:,}; "
                f"continue with: splatlearn reconstruct --out {out} --resume"
            )
            if result.requeue:
                return REQUEUE
            asked = recipe.run.stop_after is not None and result.steps >= recipe.run.stop_after
            return 0 if asked else INTERRUPTED
        quality = ""
        if result.scores is not None:
            quality = f", held-out photographs {result.scores.psnr:.2f} dB, SSIM {result.scores.ssim:.3f}"
            if result.given_scores is not None:
                quality += f" where they were localised, {result.given_scores.psnr:.2f} dB at their given poses"
            if recipe.views.exposure != "none":
                quality += f", {result.scores.aligned_psnr:.2f} dB after the alignment of each view's colours"
                if result.neighbours is not None:
                    quality += f", {result.neighbours.psnr:.2f} dB in the light of the photographs before and after"
            if result.scores.depth is not None:
                quality += f", depth off by {shown_depth(result.scores.depth)}"
        print(f"done: {result.count:,} Gaussians, {result.total:,} steps in {result.seconds:.0f} s{quality}")
        print(f"look at it with: splatlearn view {out}")
        return 0

    if stored is not None:
        # The photographs of before, unless others are named: they may have moved.
        default = dataclasses.replace(stored)

        def resumed(recipe: Annotated[SceneRecipe, tyro.conf.arg(name="")] = default) -> int:
            return command(recipe)

        resumed.__doc__ = command.__doc__
        return resumed
    return command
