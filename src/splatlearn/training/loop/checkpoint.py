"""Checkpoints of training: a model and its optimiser, further tensors, and how far the run had come.

The model lies in a checkpoint's folder as a model folder does (`config.json`, `model.safetensors`), beside the moments
of the optimiser (`optimizer.safetensors`). A model that is shared out over processes leaves files of rows instead,
which `consolidate` puts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from splatlearn.core.errors import FormatError
from splatlearn.core.typed import build
from splatlearn.models import save_model
from splatlearn.models.folders.io import WEIGHTS_NAME
from splatlearn.runs.checkpoint_store import STATE, CheckpointError, Retention
from splatlearn.runs.checkpoints import Contents, newest_whole, open_tensors, read_state, save, write_state
from splatlearn.runs.processes import Processes
from splatlearn.training.loop.checkpoint_migrations import SCHEMA
from splatlearn.training.loop.processes import is_sharded
from splatlearn.training.loop.state import optimizer_tensors, restore_optimizer, restore_weights

OPTIMIZER = "optimizer"
MODEL = WEIGHTS_NAME.removesuffix(".safetensors")


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
        counts = (self.step, self.images_per_step, self.images_per_pass)
        if min(counts) < 0:
            raise FormatError(
                f"step, images_per_step, images_per_pass: expected numbers ≥ 0, got {', '.join(map(str, counts))}"
            )


@dataclass(frozen=True, eq=False)
class Training:
    """The contents of a checkpoint: a model, its optimiser, further tensors by file, and the text of the recipe."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    more: Mapping[str, dict[str, Tensor]]
    recipe: str


def save_checkpoint(run: Path, training: Training, progress: Progress, keep: Retention, processes: Processes) -> Path:
    """Write the checkpoint of `progress.step` and remove those that do not stay; every process must call it.

    Raises CheckpointError where the folder cannot be written; older checkpoints are as they were.
    """
    sharded = is_sharded(training.model)
    tensors = {OPTIMIZER: optimizer_tensors(training.model, training.optimizer), **training.more}
    contents = Contents(
        {MODEL: training.model.state_dict(), **tensors} if sharded else tensors,
        training.recipe,
        sharded,
        lambda folder: save_whole_model(training.model, folder),
    )
    return save(run, contents, asdict(progress), SCHEMA, keep, processes)


def save_whole_model(model: nn.Module, folder: Path) -> None:
    """Write a model that is whole in this process; raises OSError where the folder takes no more."""
    try:
        save_model(model, folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def write_progress(folder: Path, progress: Progress, files: Mapping[str, str]) -> Path:
    """Write a checkpoint's `training.json` with the checksums of its files, and return it."""
    return write_state(folder, asdict(progress), SCHEMA, files)


def read_progress(folder: Path) -> tuple[Progress, dict[str, str]]:
    """Return progress and checksums of a checkpoint; raises CheckpointError for one that cannot be understood."""
    state, files = read_state(folder, SCHEMA)
    try:
        return build(Progress, state, extra=True), files
    except FormatError as error:
        raise CheckpointError(f"{folder}: {STATE}: {error}") from error


def good_checkpoint(run: Path) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest checkpoint of a run that is whole, and what is wrong with newer ones; see `newest_whole`."""
    return newest_whole(run, read_progress, (MODEL, OPTIMIZER))


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put a checkpoint's weights and moments into a model and its optimiser, and say how far the run had come.

    Whole and sharded checkpoints fit whole and sharded models alike. Raises CheckpointError when the folder has a newer
    schema, cannot be read, or holds another model.
    """
    progress, _ = read_progress(folder)
    restore_weights(model, open_tensors(folder, MODEL))
    restore_optimizer(model, optimizer, open_tensors(folder, OPTIMIZER))
    return progress
