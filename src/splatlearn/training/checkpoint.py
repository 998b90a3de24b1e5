"""Checkpoints: folders with everything a run needs to go on, written beside and renamed into place.

`RUN/checkpoints/step-00001000/` holds the model (`config.json`, `model.safetensors`), the optimiser's moments
(`optimizer.safetensors`) and `training.json`, and what else a kind of training needs, each in a safetensors file.
Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from splatlearn.models import load_weights, save_model

SCHEMA = 1
"""Version of the layout of a checkpoint folder."""

FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete, or belongs to another model."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come: optimiser steps and images so far, and the unreadable images met (name → reason)."""

    step: int
    samples: int
    unreadable: dict[str, str]


def checkpoint_folders(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    folders = (each for each in (run / FOLDER).glob("step-*") if _NAME.fullmatch(each.name))
    complete = (each for each in folders if (each / "training.json").is_file())
    return sorted(complete, key=lambda each: int(each.name.removeprefix("step-")))


def save_checkpoint(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int,
    more: Mapping[str, dict[str, Tensor]] | None = None,
) -> Path:
    """Write the checkpoint of `progress.step` and remove all but the newest `keep`.

    `more`: further tensors by name, by name of the file `NAME.safetensors` that takes them.
    The folder gets its name by one rename after its files reached the disk, so a crash leaves either all of it or
    a `.tmp` folder that the next save clears away.
    """
    target = run / FOLDER / f"step-{progress.step:08d}"
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    beside = target.parent / f".tmp-{target.name}"
    save_model(model, beside)
    save_file(optimizer_tensors(model, optimizer), beside / "optimizer.safetensors")
    for name, tensors in (more or {}).items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, beside / f"{name}.safetensors")
    (beside / "training.json").write_text(json.dumps({"schema": SCHEMA, **asdict(progress)}, indent=2))
    for path in [*beside.iterdir(), beside]:
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    os.replace(beside, target)
    _sync(target.parent)
    for old in checkpoint_folders(run)[:-keep]:
        shutil.rmtree(old)
    return target


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put a checkpoint's weights and moments into a model and its optimiser, and say how far the run had come.

    Raises CheckpointError when the folder has another schema, or holds another model.
    """
    try:
        state = json.loads((folder / "training.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder}: expected a readable training.json, got {error}") from error
    if state.pop("schema", None) != SCHEMA:
        raise CheckpointError(f"{folder}: expected checkpoint schema {SCHEMA}; update splatlearn to read newer ones")
    try:
        load_weights(model, folder)
    except ValueError as error:
        raise CheckpointError(f"{folder} is a checkpoint of another model: {error}") from error
    restore_optimizer(model, optimizer, load_file(folder / "optimizer.safetensors"))
    return Progress(**state)


def load_more(folder: Path, name: str) -> dict[str, Tensor]:
    """Further tensors of a checkpoint, as they went in; raises CheckpointError when it has no such file."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{folder}: expected {path.name} in the checkpoint, found none; start the run anew")
    return load_file(path)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors named `<entry>.<parameter name>`."""
    return {
        f"{entry}.{name}": value.contiguous()
        for name, parameter in model.named_parameters()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; raises CheckpointError for tensors of another model."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        entry, _, name = key.partition(".")
        if name not in parameters:
            raise CheckpointError(f"optimizer.safetensors: expected moments of this model's parameters, got {name!r}")
        parameter = parameters[name]
        # The step counter of fused AdamW lies on the parameter's device in float32, the moments in its dtype.
        optimizer.state[parameter][entry] = value.to(parameter.device)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
