"""Merge checkpoints that hold rows of tensors, one file for each process, into whole ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from splatlearn.models import save_model
from splatlearn.runs.checkpoint_store import (
    RECIPE,
    CheckpointError,
    checkpoint_folders,
    checksum,
    place_folder,
    step_of,
    verify,
)
from splatlearn.runs.checkpoints import open_tensors
from splatlearn.runs.lock import RunLock
from splatlearn.runs.processes import Processes
from splatlearn.runs.tensor_files import shard_names, write_tensors
from splatlearn.training.loop.checkpoint import MODEL, read_progress, write_progress
from splatlearn.training.loop.state import restore_weights
from splatlearn.training.pretraining.recipe import Recipe
from splatlearn.training.pretraining.starting import new_model


def consolidate(run: str | Path, step: int | None = None) -> Path:
    """Make a checkpoint of rows (`--parallel fsdp`) one of whole tensors, which `load_model` and the like can read.

    - `run`: a run's folder; `step`: of the checkpoint, the newest by default.

    The run goes on from either. The sharded one is replaced when the other is complete; one that is whole already is
    left as it is. Returns the checkpoint's folder. Raises CheckpointError where there is none, where it is damaged, and
    where it cannot be written, and RunFolderError while the run trains.
    """
    saved = {step_of(folder): folder for folder in checkpoint_folders(Path(run))}
    if not saved:
        raise CheckpointError(f"run: expected a run with a checkpoint under checkpoints/step-…, found none in {run}")
    if step is not None and step not in saved:
        raise CheckpointError(f"step: expected one of {', '.join(map(str, saved))}, got {step}")
    with RunLock(Path(run)):
        return _together(saved[max(saved) if step is None else step])


def _together(folder: Path) -> Path:
    names = shard_names(folder)
    if not names:
        return folder
    progress, files = read_progress(folder)
    verify(folder, files)
    recipe = Recipe.read(folder / RECIPE)
    model = new_model(recipe)
    restore_weights(model, open_tensors(folder, MODEL))

    def write(beside: Path) -> list[Path]:
        save_model(model, beside)
        others = [name for name in names if name != MODEL]
        return [*beside.iterdir(), *(write_tensors(beside, name, open_tensors(folder, name).all()) for name in others)]

    def finish(beside: Path, written: dict[str, str]) -> list[Path]:
        shutil.copyfile(folder / RECIPE, beside / RECIPE)
        return [beside / RECIPE, write_progress(beside, progress, {**written, RECIPE: checksum(beside / RECIPE)})]

    try:
        place_folder(folder, write, finish, Processes(torch.device("cpu")))
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(
            f"run: cannot write into {folder.parent}: {reason}; {folder.name} is as it was"
        ) from error
    return folder
