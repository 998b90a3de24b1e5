"""With `--resume`, what a run's own recipe says is the default of every option."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import InputError
from splatlearn.runs.recipe import StoredRecipe

AnyRecipe = TypeVar("AnyRecipe", bound=StoredRecipe)

MARKS = {"pretrain": "method", "reconstruct": "capture", "objects": "shapes"}
"""A key that only the recipes of a verb have."""


def resumed_recipe(verb: str, kind: type[AnyRecipe], arguments: Sequence[str]) -> AnyRecipe | None:
    """The recipe in the folder named by --out, to be resumed, if that is what the arguments ask of the verb.

    What belonged to one call alone, such as where to stop, is not among it. Raises InputError for a run of another
    verb, and FormatError for a recipe that cannot be read.
    """
    given = options_given(arguments)
    if [*arguments][:1] != [verb] or not given.resume or given.out is None:
        return None
    from splatlearn.runs.folder import RECIPE

    path = Path(given.out) / RECIPE
    if not path.is_file():
        return None
    values = read_object(path)
    begun = next((each for each, key in MARKS.items() if key in values), "finetune")
    if begun != verb:
        raise InputError(f"out: the run in {given.out} was begun by `splatlearn {begun}`; resume it with that verb")
    stored = kind.read(path).lasting()
    run: Any = stored.run  # pyright: ignore[reportAttributeAccessIssue]
    return dataclasses.replace(stored, run=dataclasses.replace(run, resume=True))  # pyright: ignore[reportCallIssue]


def options_given(arguments: Sequence[str]) -> argparse.Namespace:
    """The options `out`, `resume` and `preset` among a command's arguments, in every spelling that the command takes.

    The last of several counts. What is missing is None or False; so are all of them where the command will refuse the
    arguments.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--out")
    parser.add_argument("--preset")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=False)
    try:
        return parser.parse_known_args([*arguments])[0]
    except argparse.ArgumentError:
        return parser.parse_args([])
