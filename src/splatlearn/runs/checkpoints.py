"""Checkpoints of any job: folders of named tensors and files, written beside and renamed into place.

`RUN/checkpoints/step-00001000/` holds named tensors, each name in a safetensors file, further files of the job, the
run's `recipe.json`, and `training.json`: the state of the job with its schema, versions, and the checksums of the other
files. Tensors that are shared out over processes leave files of rows instead (`tensor_files`). Nothing is pickled.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.typed import build
from splatlearn.runs.checkpoint_store import (
    FOLDER,
    RECIPE,
    STATE,
    CheckpointError,
    Retention,
    checkpoint_folders,
    checksum,
    place_folder,
    prune,
    verify,
)
from splatlearn.runs.processes import Processes
from splatlearn.runs.schema import NewerSchemaError, Schema
from splatlearn.runs.tensor_files import TensorFiles, write_rows, write_tensors

LARGEST_STATE = 2**30
"""Bytes of a `training.json`, which may name every unreadable image."""


class UnknownCheckpointError(CheckpointError):
    """A checkpoint was written by a newer version."""


@dataclass(frozen=True)
class _Checksums:
    """The checksums of a checkpoint's files, by name."""

    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a checkpoint.

    - `tensors`: by name, by the name of their file.
    - `recipe`: the text of `recipe.json`.
    - `sharded`: whether the tensors are shared out over processes, each of which then writes its rows.
    - `write`: writes further files into the folder; the main process calls it. Raises OSError where it cannot.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    recipe: str
    sharded: bool = False
    write: Callable[[Path], None] = lambda folder: None


def save(
    run: Path,
    contents: Contents,
    state: Mapping[str, Any],
    schema: Schema,
    keep: Retention,
    processes: Processes,
) -> Path:
    """Write the checkpoint of `state["step"]` and remove those that do not stay; every process must call it.

    `state` is what JSON can hold. Raises CheckpointError where the folder cannot be written; older checkpoints are as
    they were.
    """
    target = run / FOLDER / f"step-{state['step']:08d}"

    def write(folder: Path) -> list[Path]:
        if contents.sharded:
            return [write_rows(folder, name, tensors, processes) for name, tensors in contents.tensors.items()]
        if not processes.main:
            return []
        contents.write(folder)
        files = [*folder.iterdir()]
        return [*files, *(write_tensors(folder, name, tensors) for name, tensors in contents.tensors.items())]

    def finish(folder: Path, files: dict[str, str]) -> list[Path]:
        (folder / RECIPE).write_text(contents.recipe)
        return [folder / RECIPE, write_state(folder, state, schema, {**files, RECIPE: checksum(folder / RECIPE)})]

    try:
        place_folder(target, write, finish, processes)
        processes.first(lambda: prune(run, keep))
    except OSError as error:
        saved = checkpoint_folders(run)
        good = f"the last good checkpoint, {saved[-1].name}, is as it was" if saved else "there is no earlier one"
        raise CheckpointError(
            f"out: cannot write the checkpoint of step {state['step']} into {target.parent}: "
            f"{error.strerror or error}; {good}. Make room, or let the folder be written, and --resume"
        ) from error
    return target


def write_state(folder: Path, state: Mapping[str, Any], schema: Schema, files: Mapping[str, str]) -> Path:
    """Write a checkpoint's `training.json` with the checksums of its files, and return it."""
    version = importlib.metadata.version("splatlearn")
    content = {"schema": schema.newest, "splatlearn": version, **state, "files": dict(files)}
    (folder / STATE).write_text(json.dumps(content, indent=2))
    return folder / STATE


def read_state(folder: Path, schema: Schema) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what `training.json` says and the checksums in it; raises CheckpointError for one that cannot be read."""
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError(f"{folder}: expected a readable {STATE}, found none")
    try:
        state = schema.migrate(read_object(path, LARGEST_STATE))
        return state, build(_Checksums, state, extra=True).files
    except OSError as error:
        raise CheckpointError(f"{folder}: expected a readable {STATE}, got {error}") from error
    except NewerSchemaError as error:
        raise UnknownCheckpointError(f"{folder}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: {STATE}: {error or type(error).__name__}") from error


def newest_whole(
    run: Path, read: Callable[[Path], tuple[Any, Mapping[str, str]]], names: tuple[str, ...]
) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest checkpoint of a run that is whole, and what is wrong with newer ones.

    - `read`: reads the state of a folder and its checksums, or raises CheckpointError.
    - `names`: of tensors that every checkpoint has.

    None where the run has no checkpoint. Raises CheckpointError where none is whole, and for one that a newer version
    wrote.
    """
    problems: dict[Path, str] = {}
    for folder in reversed(checkpoint_folders(run)):
        try:
            _, files = read(folder)
            verify(folder, files)
            for name in names:
                open_tensors(folder, name)
            return folder, problems
        except UnknownCheckpointError:
            raise
        except CheckpointError as error:
            problems[folder] = str(error)
    if problems:
        raise CheckpointError(f"out: no checkpoint of {run} is whole: {'; '.join(problems.values())}")
    return None, {}


def open_tensors(folder: Path, name: str) -> TensorFiles:
    """The tensors of a name in a checkpoint; raises CheckpointError where they are missing or cannot be read."""
    try:
        return TensorFiles(folder, name)
    except FileNotFoundError as error:
        message = f"{folder}: expected {name}.safetensors in the checkpoint, found none; start the run anew"
        raise CheckpointError(message) from error
    except ValueError as error:
        raise CheckpointError(str(error)) from error
