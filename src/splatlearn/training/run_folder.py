"""The folder of a run: who may write into it, and what it says about itself."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from splatlearn.core.errors import InputError
from splatlearn.training.checkpoint_files import RECIPE, checkpoint_folders
from splatlearn.training.recipe import RunOptions
from splatlearn.training.stored_recipe import FREE, STEP, StoredRecipe

UNFINISHED = f"{RECIPE}.tmp"
PACKAGES = ("splatlearn", "torch", "numpy", "pillow", "accelerate", "datasets", "safetensors")


class RunFolderError(InputError):
    """The output folder cannot take this run."""


def open_run_folder(recipe: StoredRecipe, run: RunOptions) -> Path:
    """Make the run's folder, or accept one to resume; nothing in it is changed when this raises.

    Raises RunFolderError when it already holds a run and `resume` is off, when it holds a run of another recipe, when
    it holds something else, or when it cannot be written.
    """
    folder = Path(run.out)
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"out: expected a folder, got the file {folder}")
    if (folder / RECIPE).exists():
        _check_same_run(folder, recipe, run.resume)
        return folder
    # A run that was killed as it began leaves its unfinished recipe, and nothing else.
    if folder.exists() and any(each.name != UNFINISHED for each in folder.iterdir()):
        raise RunFolderError(
            f"out: expected a new or empty folder, got {folder}, which holds "
            f"{', '.join(sorted(each.name for each in folder.iterdir())[:3])} and no run; choose another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).write_text(recipe.to_json())
        os.replace(folder / UNFINISHED, folder / RECIPE)
        (folder / "environment.json").write_text(json.dumps(environment(), indent=2))
    except OSError as error:
        raise RunFolderError(f"out: cannot write into {folder}: {error.strerror or error}") from error
    return folder


def _check_same_run(folder: Path, recipe: StoredRecipe, resume: bool) -> None:
    if not resume:
        saved = checkpoint_folders(folder)
        state = f"newest checkpoint {saved[-1].name}" if saved else "no checkpoint yet"
        raise RunFolderError(
            f"out: {folder} already holds a run ({state}); add --resume to go on with it, or choose another folder"
        )
    try:
        stored = type(recipe).read(folder / RECIPE)
    except ValueError as error:
        raise RunFolderError(
            f"out: expected the recipe of such a run in {folder / RECIPE}, got another one ({error}); choose another "
            "folder"
        ) from error
    differences = stored.differences(recipe, FREE | STEP if checkpoint_folders(folder) else FREE)
    if differences:
        raise RunFolderError(
            f"out: the run in {folder} has another recipe (there, here): {'; '.join(differences)}; "
            "resume with the same values, or choose another folder"
        )


def environment() -> dict[str, Any]:
    """Versions, machine and command line, for `environment.json` and `splatlearn doctor`."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "versions": versions,
    }


def _processor() -> str:
    """The processor's name; Linux keeps it in /proc only."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
