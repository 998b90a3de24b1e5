"""With `--resume`, what a run's own recipe says is the default of every option."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from splatlearn.training import FinetuneRecipe, Recipe
from splatlearn.training.run_folder import RECIPE

AnyRecipe = TypeVar("AnyRecipe", Recipe, FinetuneRecipe)


def resumed_recipe(verb: str, kind: type[AnyRecipe], arguments: Sequence[str]) -> AnyRecipe | None:
    """The recipe in the folder named by --out, to be resumed, if that is what the arguments ask of the verb."""
    arguments = list(arguments)
    if arguments[:1] != [verb] or "--resume" not in arguments or "--out" not in arguments[:-1]:
        return None
    path = Path(arguments[arguments.index("--out") + 1]) / RECIPE
    if not path.is_file():
        return None
    stored = kind.read(path)
    return dataclasses.replace(stored, run=dataclasses.replace(stored.run, resume=True))
