"""The folder of a run: who may write into it, what lies in it from the start, and that it stays whole."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from splatlearn.core.disk.atomic import is_unfinished, write_whole
from splatlearn.core.disk.outputs import MARKER, outputs_in, remove_listed
from splatlearn.runs.checkpoint_store import FOLDER, RECIPE, checkpoint_folders
from splatlearn.runs.data_identity import DATA, Identities, check_data, data_text
from splatlearn.runs.lock import HOLDER, LOCK, RunFolderError, RunLock
from splatlearn.runs.processes import Processes
from splatlearn.runs.recipe import StoredRecipe

__all__ = ["RECIPE", "RunFolder", "RunFolderError", "entered", "environment"]

ENVIRONMENT = "environment.json"
LOG = "log.jsonl"
NONFINITE = "nonfinite"
NAMES = (RECIPE, ENVIRONMENT, DATA, LOG, FOLDER, NONFINITE)
"""Files and folders that a run makes, beside the lock."""
UNFINISHED = f"{RECIPE}.tmp"
"""File that older versions left behind if a run was killed as it began."""
PACKAGES = ("splatlearn", "torch", "numpy", "pillow", "accelerate", "datasets", "safetensors")


@runtime_checkable
class Place(Protocol):
    """The options of a run that concern its folder."""

    @property
    def out(self) -> str:
        """Folder of the run."""
        ...

    @property
    def resume(self) -> bool:
        """Whether to go on from the newest checkpoint."""
        ...

    @property
    def allow_other_data(self) -> bool:
        """Whether to resume although the data are not those that the run began with."""
        ...


@contextmanager
def entered(run: Place, processes: Processes, claimed: bool = False) -> Iterator[RunFolder]:
    """The folder of a run, locked in the main process while the run trains; see `RunFolder`.

    `claimed`: whether the caller has made room in the folder, where other files may lie too. Raises InputError or a
    subclass for a folder that cannot work; nothing is changed then.
    """
    folder = RunFolder(run, claimed)
    try:
        processes.first(folder.enter)
        yield folder
    finally:
        folder.leave()


class RunFolder:
    """A run's folder, from the check before anything else to the last checkpoint; only the main process changes it.

    `enter` checks, and locks a run that is there. `make` comes when nothing else can be wrong any more: it makes the
    folder with recipe, environment and the identity of the data, or accepts the one to resume. `restore` puts back
    what others removed meanwhile. `path` changes only where another folder has taken this one's place.
    """

    def __init__(self, run: Place, claimed: bool = False) -> None:
        self.path = Path(run.out)
        self.saved = False  # whether the run has a checkpoint
        self._run, self._claimed = run, claimed
        self._lock = RunLock(self.path)
        self._texts: dict[str, str] = {}
        self._new: list[Path] = []
        # Held open, so that no other folder gets this one's number.
        self._descriptor: int | None = None
        self._inode: tuple[int, int] | None = None

    @property
    def unlocked(self) -> str | None:
        """Why the folder could not be locked, if the file system has no locks."""
        return self._lock.unsupported

    def enter(self) -> None:
        """Check the folder, and lock it if it is a run to resume. Raises InputError, with nothing changed."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"out: expected a folder, got the file {self.path}")
        if not (self.path / RECIPE).exists():
            outputs_in(self._run.out, [RECIPE])
            self._check_room()
        elif self._run.resume:
            self._lock.acquire()
        else:
            saved = checkpoint_folders(self.path)
            state = f"newest checkpoint {saved[-1].name}" if saved else "no checkpoint yet"
            raise RunFolderError(
                f"out: {self.path} already holds a run ({state}); add --resume to go on with it, or choose another "
                "folder"
            )

    def check_recipe(self, recipe: StoredRecipe) -> None:
        """Compare the resolved recipe with that of the run to resume, if there is one. Raises RunFolderError."""
        if not (self.path / RECIPE).exists():
            return
        try:
            stored = type(recipe).read(self.path / RECIPE)
        except ValueError as error:
            raise RunFolderError(
                f"out: expected the recipe of such a run in {self.path / RECIPE}, got another one ({error}); choose "
                "another folder"
            ) from error
        differences = stored.differences(recipe, judged=bool(checkpoint_folders(self.path)))
        if differences:
            raise RunFolderError(
                f"out: the run in {self.path} has another recipe (there, here): {'; '.join(differences)}; "
                "resume with the same values, or choose another folder"
            )

    def make(self, recipe: StoredRecipe, identities: Identities, needed: int) -> None:
        """Make the folder of a new run, or accept the one to resume.

        - `identities`: of the run's data, by part.
        - `needed`: bytes of a checkpoint.

        Raises RunFolderError for data that the run did not learn from, for too little space, and for a folder that
        cannot be written; a new folder is not made then.
        """
        self._check_space(needed)
        resumed = (self.path / RECIPE).exists()
        self.saved = bool(checkpoint_folders(self.path))
        if self.saved and not self._run.allow_other_data:
            check_data(self.path, identities, recipe.other_data)
        # The recipe comes first: a folder that has one can be resumed, which writes the others if they are missing.
        self._texts = {RECIPE: recipe.lasting().to_json(), ENVIRONMENT: json.dumps(environment(), indent=2)}
        for name in self._texts if resumed else ():
            if (self.path / name).is_file():
                self._texts[name] = (self.path / name).read_text(encoding="utf-8")
        self._texts[DATA] = data_text(identities)
        made = [each for each in (self.path, *self.path.parents) if not each.exists()]
        try:
            self._write(resumed)
        except (OSError, RunFolderError) as error:
            self._unmake(made)
            if isinstance(error, RunFolderError):
                raise
            raise RunFolderError(f"out: cannot write into {self.path}: {error.strerror or error}") from error

    def leave(self) -> None:
        """Give the lock back."""
        self._lock.release()
        self._close()

    def removed(self) -> list[str]:
        """The names of what others removed of the folder, or of all of it; none as long as it is whole."""
        if not self._texts:
            return []
        if not self._stands():
            return [*NAMES]
        missing = [name for name in self._texts if not (self.path / name).exists()]
        missing += [LOCK] if self._lock.lost() else []
        return missing + ([FOLDER] if self.saved and not checkpoint_folders(self.path) else [])

    def restore(self) -> bool:
        """Write what was removed anew; returns False where another run has taken the folder's place.

        In that case nothing in the other run is changed, and `path` becomes a new folder beside it.
        """
        if not self._stands() and self.path.exists():
            # A checkpoint that was being written when the folder went makes it again.
            held = {each.name for each in self.path.iterdir() if not _passes(each)}
            if held - {FOLDER, NONFINITE}:
                self._move()
                return False
        try:
            self._write(resumed=True)
        except RunFolderError:
            # Somebody else holds the new lock.
            self._move()
            return False
        return True

    def _move(self) -> None:
        """Go on in a new folder beside the one that others have taken."""
        self._lock.release()
        place = self.path.absolute()
        names = (f"{place.name}-rescued{number or ''}" for number in itertools.count())
        self.path = next(path for name in names if not (path := place.with_name(name)).exists())
        self._write(resumed=False)

    def _write(self, resumed: bool) -> None:
        """Make and lock the folder, and write those of its texts that are missing or differ."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock.holds(self.path):
            self._lock.release()
            self._lock = RunLock(self.path)
            self._lock.acquire()
        if not resumed:
            if (self.path / RECIPE).exists():
                raise RunFolderError(f"out: another process has just begun a run in {self.path}; choose another folder")
            if not self._claimed and (self.path / MARKER).exists():
                # What a killed command was about to write is not this run.
                remove_listed(self.path, ())
        for name, text in self._texts.items():
            path = self.path / name
            if not path.is_file():
                self._new.append(path)
                write_whole(path, text)
            elif name == DATA and path.read_text(encoding="utf-8") != text:
                write_whole(path, text)
        self._open()

    def _unmake(self, made: list[Path]) -> None:
        """Take away what was made in vain."""
        ours = [self.path / HOLDER, self.path / LOCK] if self.path in made and self._lock.holds(self.path) else []
        for path in (*self._new, *ours):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self.leave()
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()

    def _open(self) -> None:
        self._close()
        found = self.path.stat()
        self._inode = found.st_dev, found.st_ino
        # Systems that cannot open folders do not remove them while the locked file is open either.
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self.path, os.O_RDONLY)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _stands(self) -> bool:
        """Whether the folder is the one that this run made or found."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    def _check_room(self) -> None:
        """Raise RunFolderError unless a new run may begin in the folder."""
        if not self.path.exists():
            return
        held = sorted(each.name for each in self.path.iterdir() if not _passes(each))
        if self._claimed:
            held = [name for name in held if name in NAMES]
        if held:
            raise RunFolderError(
                f"out: expected a new or empty folder, got {self.path}, which holds {', '.join(held[:3])} and no run; "
                "choose another folder"
            )

    def _check_space(self, needed: int) -> None:
        there = next(each for each in (self.path.absolute(), *self.path.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < needed:
            raise RunFolderError(
                f"out: expected {needed / 1e6:,.0f} MB of free space for a checkpoint in {self.path}, got "
                f"{free / 1e6:,.0f} MB; make room or choose another folder"
            )


def _passes(path: Path) -> bool:
    """Whether an entry of a folder belongs to neither a person nor a run."""
    return path.name in {LOCK, HOLDER, MARKER, UNFINISHED} or is_unfinished(path)


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
