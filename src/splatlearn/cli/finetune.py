"""`splatlearn finetune RUN --data LABELLED --out FT`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import tyro

from splatlearn.cli.resuming import resumed_recipe
from splatlearn.training.finetuning.recipe import FinetuneRecipe


def finetune_command(arguments: Sequence[str]) -> Callable[..., int]:
    """The command; with `--resume`, what the run's recipe says is the default of every option."""
    stored = resumed_recipe("finetune", FinetuneRecipe, arguments)

    def command(recipe: Annotated[FinetuneRecipe, tyro.conf.arg(name="")]) -> int:
        """Fine-tune a pre-trained encoder to classify labelled images, by the official MAE recipe."""
        from splatlearn.cli.stopped import how_it_stopped, is_finished
        from splatlearn.report import write_run_report
        from splatlearn.training import finetune
        from splatlearn.training.loop.processes import part

        result = finetune(recipe)
        part()
        averaged = "" if result.top1_average is None else f" (averaged weights {result.top1_average:.1%})"
        scores = "" if result.top1 is None else f", top-1 {result.top1:.1%}{averaged} on the validation images"
        if is_finished(result, scores):
            return 0
        report = write_run_report(result.folder) if result.main and result.done else None
        if result.interrupted:
            return how_it_stopped(result, recipe.run, "splatlearn finetune")
        if result.main:
            print(f"done: {result.steps} steps{scores}; {report}")
        return 0

    if stored is not None:

        def resumed(recipe: Annotated[FinetuneRecipe, tyro.conf.arg(name="")] = stored) -> int:
            return command(recipe)

        resumed.__doc__ = command.__doc__
        return resumed
    return command
