"""Checkpoints: folders with everything a run needs to go on, written beside and renamed into place.

`RUN/checkpoints/step-00001000/` holds the model (`config.json`, `model.safetensors`), the optimiser's moments
(`optimizer.safetensors`), what else a kind of training needs, each in a safetensors file, the run's `recipe.json`, and
`training.json`: how far the run had come, versions, and the checksums of the other files. A model that is shared out
over processes leaves files of rows instead (`tensor_files`), which `consolidate` puts together. Nothing is pickled.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError
from splatlearn.core.typed import build
from splatlearn.models import save_model
from splatlearn.models.folders.io import WEIGHTS_NAME
from splatlearn.training.checkpoint_files import (
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
from splatlearn.training.migrations import SCHEMA, NewerSchemaError, migrate
from splatlearn.training.processes import Processes, is_sharded
from splatlearn.training.state import optimizer_tensors, restore_optimizer, restore_weights
from splatlearn.training.tensor_files import TensorFiles, write_rows, write_tensors

OPTIMIZER = "optimizer"
LARGEST_STATE = 2**30
"""Bytes of a `training.json`, which names every unreadable image."""
MODEL = WEIGHTS_NAME.removesuffix(".safetensors")


class UnknownCheckpointError(CheckpointError):
    """A checkpoint was written by a newer version."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come: optimiser steps, the unreadable images met (name → reason), and how large its steps are.

    `images_per_step` and `images_per_pass` count over all processes, the second those that one forward pass compares
    with each other; 0 where an older checkpoint does not say.
    """

    step: int
    unreadable: dict[str, str]
    images_per_step: int = 0
    images_per_pass: int = 0

    def __post_init__(self) -> None:
        if min(self.step, self.images_per_step, self.images_per_pass) < 0:
            raise FormatError(f"step, images_per_step, images_per_pass: expected numbers ≥ 0, got {self.step} and more")


@dataclass(frozen=True)
class _Checksums:
    """The checksums of a checkpoint's files, by name."""

    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class Training:
    """What a checkpoint keeps: a model, its optimiser, further tensors by name of their file, and the recipe's text."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    more: Mapping[str, dict[str, Tensor]]
    recipe: str


def save_checkpoint(run: Path, training: Training, progress: Progress, keep: Retention, processes: Processes) -> Path:
    """Write the checkpoint of `progress.step` and remove those that do not stay; every process must call it.

    Raises CheckpointError where the folder cannot be written; older checkpoints are as they were.
    """
    target = run / FOLDER / f"step-{progress.step:08d}"
    sharded = is_sharded(training.model)
    moments = optimizer_tensors(training.model, training.optimizer)

    def write(folder: Path) -> list[Path]:
        if sharded:
            named = {MODEL: training.model.state_dict(), OPTIMIZER: moments, **training.more}
            return [write_rows(folder, name, tensors, processes) for name, tensors in named.items()]
        if not processes.main:
            return []
        save_whole_model(training.model, folder)
        named = {OPTIMIZER: moments, **training.more}
        return [*folder.iterdir(), *(write_tensors(folder, name, tensors) for name, tensors in named.items())]

    def finish(folder: Path, files: dict[str, str]) -> list[Path]:
        (folder / RECIPE).write_text(training.recipe)
        return [folder / RECIPE, write_state(folder, progress, {**files, RECIPE: checksum(folder / RECIPE)})]

    try:
        place_folder(target, write, finish, processes)
        processes.first(lambda: prune(run, keep))
    except OSError as error:
        saved = checkpoint_folders(run)
        good = f"the last good checkpoint, {saved[-1].name}, is as it was" if saved else "there is no earlier one"
        raise CheckpointError(
            f"out: cannot write the checkpoint of step {progress.step} into {target.parent}: "
            f"{error.strerror or error}; {good}. Make room, or let the folder be written, and --resume"
        ) from error
    return target


def save_whole_model(model: nn.Module, folder: Path) -> None:
    """Write a model that is whole in this process; raises OSError where the folder takes no more."""
    try:
        save_model(model, folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def write_state(folder: Path, progress: Progress, files: dict[str, str]) -> Path:
    """Write a checkpoint's `training.json` with the checksums of its files, and return it."""
    version = importlib.metadata.version("splatlearn")
    state = {"schema": SCHEMA, "splatlearn": version, **asdict(progress), "files": files}
    (folder / STATE).write_text(json.dumps(state, indent=2))
    return folder / STATE


def read_progress(folder: Path) -> tuple[Progress, dict[str, str]]:
    """What `training.json` says: progress and checksums; raises CheckpointError for one that cannot be understood."""
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError(f"{folder}: expected a readable {STATE}, found none")
    try:
        state = migrate(read_object(path, LARGEST_STATE))
        return build(Progress, state, extra=True), build(_Checksums, state, extra=True).files
    except OSError as error:
        raise CheckpointError(f"{folder}: expected a readable {STATE}, got {error}") from error
    except NewerSchemaError as error:
        raise UnknownCheckpointError(f"{folder}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: {STATE}: {error or type(error).__name__}") from error


def good_checkpoint(run: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest checkpoint of a run that is whole, and what is wrong with newer ones.

    None where the run has no checkpoint. Raises CheckpointError where none is whole, and for one that a newer version
    wrote.
    """
    problems: dict[Path, str] = {}
    for folder in reversed(checkpoint_folders(run)):
        try:
            _, files = read_progress(folder)
            verify(folder, files)
            for name in (MODEL, OPTIMIZER):
                open_tensors(folder, name)
            return folder, problems
        except UnknownCheckpointError:
            raise
        except CheckpointError as error:
            problems[folder] = str(error)
    if problems:
        raise CheckpointError(f"out: no checkpoint of {run} is whole: {'; '.join(problems.values())}")
    return None, {}


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put a checkpoint's weights and moments into a model and its optimiser, and say how far the run had come.

    Whole and sharded checkpoints fit whole and sharded models alike. Raises CheckpointError when the folder has a newer
    schema, cannot be read, or holds another model.
    """
    progress, _ = read_progress(folder)
    restore_weights(model, open_tensors(folder, MODEL))
    restore_optimizer(model, optimizer, open_tensors(folder, OPTIMIZER))
    return progress


def open_tensors(folder: Path, name: str) -> TensorFiles:
    """The tensors of a name in a checkpoint; raises CheckpointError where they are missing or cannot be read."""
    try:
        return TensorFiles(folder, name)
    except FileNotFoundError as error:
        message = f"{folder}: expected {name}.safetensors in the checkpoint, found none; start the run anew"
        raise CheckpointError(message) from error
    except ValueError as error:
        raise CheckpointError(str(error)) from error
