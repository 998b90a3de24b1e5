"""Folders of checkpoints: written under a temporary name and renamed, with checksums; old ones are removed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from splatlearn.core.disk.atomic import replace_folder, sync
from splatlearn.core.errors import FormatError
from splatlearn.runs.processes import Processes

FOLDER = "checkpoints"
RECIPE = "recipe.json"
STATE = "training.json"
"""The file of a checkpoint that is written last."""
OLD = ".tmp-old-"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointError(FormatError):
    """A checkpoint is missing, damaged, cannot be written, or belongs to another model."""


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the newest `last`, and those whose step is a multiple of `every` (0: no others)."""

    last: int
    every: int = 0


def checkpoint_folders(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    folders = (each for each in (run / FOLDER).glob("step-*") if _NAME.fullmatch(each.name))
    complete = (each for each in folders if (each / STATE).is_file())
    return sorted(complete, key=step_of)


def step_of(folder: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(folder.name.removeprefix("step-"))


def place_folder(
    target: Path,
    write: Callable[[Path], list[Path]],
    finish: Callable[[Path, dict[str, str]], list[Path]],
    processes: Processes,
) -> None:
    """Make a folder by one rename, after its files reached the disk.

    `write(folder)` is called in every process and returns the files that it wrote; then `finish(folder, checksums)` in
    the main one, with the checksums of all these, which returns the files that it added. A crash leaves either all of
    the folder or a `.tmp` one that the next call clears away. Raises OSError in all processes where one of them cannot
    write; what was written by then is taken away, so that a full disk is no fuller.
    """
    beside = target.parent / f".tmp-{target.name}"

    def begin() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f"{OLD}*"):
            if not (replaced := target.parent / old.name.removeprefix(OLD)).exists():
                os.replace(old, replaced)
        for leftover in target.parent.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir()

    def end() -> None:
        for path in finish(beside, files):
            sync(path)
        replace_folder(beside, target, target.parent / f"{OLD}{target.name}")

    try:
        processes.first(begin)
        files = {}
        for written in processes.gather(_attempt(write, beside)):
            if isinstance(written, OSError):
                raise written
            files.update(written)
        processes.first(end)
    except OSError:
        if processes.main:
            shutil.rmtree(beside, ignore_errors=True)
        raise


def _attempt(write: Callable[[Path], list[Path]], folder: Path) -> dict[str, str] | OSError:
    """The checksums of what was written for programs and has reached the disk, or why it could not be."""
    try:
        paths = write(folder)
        for path in paths:
            sync(path)
        return {path.name: checksum(path) for path in paths if path.suffix in {".safetensors", ".json"}}
    except OSError as error:
        return error


def prune(run: Path, retention: Retention) -> None:
    """Remove the checkpoints that do not stay."""
    for folder in checkpoint_folders(run)[: -retention.last]:
        if not retention.every or step_of(folder) % retention.every:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a checkpoint such that a crash leaves nothing that could be taken for one."""
    (folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(folder)


def verify(folder: Path, expected: Mapping[str, str]) -> None:
    """Raise CheckpointError naming the first file that is missing or not as it was written."""
    for name, wanted in expected.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder}: expected {name} in the checkpoint, found none")
        if checksum(path) != wanted:
            raise CheckpointError(
                f"{path}: expected the bytes that were written, got others: it is damaged or cut short"
            )


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint, so that nothing takes it for a good one, and nothing of it is lost."""
    aside = folder.with_name(f"damaged-{folder.name}")
    if aside.exists():
        shutil.rmtree(aside)
    os.replace(folder, aside)
    return aside


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
