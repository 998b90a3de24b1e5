"""`splatlearn pretrain gmae|mae|mi-gmae|mi-mae|splat-mae|splat-jepa --data DATA --out RUN`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, cast, get_args

import tyro

from splatlearn.cli.resuming import options_given, resumed_recipe
from splatlearn.training.pretraining.laptop import laptop_recipe
from splatlearn.training.pretraining.recipe import DataOptions, Method, Recipe
from splatlearn.training.training_recipe import RunOptions


def pretrain_command(arguments: Sequence[str]) -> Callable[..., int]:
    """The command; what the run's recipe says with `--resume`, or a preset, is the default of every option."""
    stored = resumed_recipe("pretrain", Recipe, arguments) or _preset(arguments)

    def command(recipe: Annotated[Recipe, tyro.conf.arg(name="")]) -> int:
        """Pre-train a Gaussian masked autoencoder (gmae) or a masked autoencoder (mae) on your own images.

        mi-gmae and mi-mae see every image through several masks and learn what these have in common. splat-mae and
        splat-jepa learn from splat files instead of images. SIGTERM and SIGUSR1 end the run after the current step,
        with a checkpoint and exit code 75; --resume continues it.
        """
        from splatlearn.cli.stopped import how_it_stopped, is_finished
        from splatlearn.report import write_run_report
        from splatlearn.training import pretrain
        from splatlearn.training.loop.processes import part

        result = pretrain(recipe)
        part()
        if is_finished(result):
            return 0
        report = write_run_report(result.folder) if result.main and result.done else None
        if result.interrupted:
            return how_it_stopped(result, recipe.run, f"splatlearn pretrain {recipe.method}")
        if result.main:
            done = f"{result.steps} steps, loss {result.loss:.4f}, {result.images_per_second:.0f} images/s"
            print(f"done: {done}; {report}")
        return 0

    if stored is not None:

        def resumed(recipe: Annotated[Recipe, tyro.conf.arg(name="")] = stored) -> int:
            return command(recipe)

        resumed.__doc__ = command.__doc__
        return resumed
    return command


def _preset(arguments: Sequence[str]) -> Recipe | None:
    """The recipe of the preset among the arguments, if it is one of whole recipes."""
    if arguments[:1] != ["pretrain"] or options_given(arguments).preset != "laptop":
        return None
    method = next((word for word in arguments if word in get_args(Method)), "mi-gmae")
    recipe = laptop_recipe(DataOptions(data=""), RunOptions(out=""), cast("Method", method))
    # What the arguments must say has no default here either; no value of a field's own type would say so.
    object.__setattr__(recipe.data, "data", tyro.MISSING)
    object.__setattr__(recipe.run, "out", tyro.MISSING)
    return recipe
