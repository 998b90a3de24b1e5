"""Files written whole or not at all, and JSON objects read with errors that name the file.

This is the only place where a file takes another's name. A reader never meets half a file, what was there stays until
all of the new content has reached the disk, and a process that is killed leaves at most a hidden `.NAME.….tmp`.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from splatlearn.core.errors import FormatError, InputError

UNFINISHED_SUFFIX = ".tmp"
"""Ending of files and folders that are still being written; their names begin with a dot."""

ABANDONED_AFTER = 3600.0
"""Seconds after its last change at which an unfinished file counts as left by a killed process."""

LONGEST_NAME = 200
"""Bytes of a file's name that the name of its unfinished file has; file systems allow 255 in all."""

LARGEST = 2**24
"""Bytes that a JSON file may have where its reader names no other limit."""

DEEPEST = 32
"""Levels of objects and lists within each other that a JSON file may have."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes that name at the end, and is removed if the writing fails.

    Missing folders are made. The content has reached the disk before the old file is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{_shortened(path.name)}."
    _clear_abandoned(path.parent, stem)
    beside = path.with_name(f"{stem}{os.getpid()}{UNFINISHED_SUFFIX}")
    try:
        # Some writers make files that nobody else can read, whatever the umask says.
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    """A name that leaves room for what is added to it; names that are equal at first stay apart by their digest."""
    # File systems limit bytes, of which a character may have four.
    whole = os.fsencode(name)
    if len(whole) <= LONGEST_NAME:
        return name
    return f"{whole[:LONGEST_NAME].decode('utf-8', 'ignore')}.{hashlib.sha256(whole).hexdigest()[:8]}"


@contextmanager
def filling(target: Path, last: str, keeps: Callable[[str], bool] = lambda name: False) -> Iterator[Path]:
    """A new folder whose files are moved into `target`, made when missing, once all of them are written.

    - `last`: the file that moves last, so that a folder that has it is complete.
    - `keeps`: names for which it returns True stay in `target` as they are.

    Raises InputError when `target` is a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_dir():
        raise InputError(f"folder: expected a folder, got the file {target}")
    beside = Path(tempfile.mkdtemp(prefix=".splatlearn.", dir=target if target.exists() else target.parent))
    try:
        yield beside
        target.mkdir(exist_ok=True)
        for file in sorted(beside.iterdir(), key=lambda each: each.name == last):
            if not keeps(file.name):
                sync(file)
                os.replace(file, target / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def replace_folder(beside: Path, target: Path, old: Path) -> None:
    """Give a complete folder the name `target`; a folder of that name becomes `old` and is then removed.

    A crash leaves `target` complete, or `old` complete and no `target`.
    """
    sync(beside)
    if target.exists():
        os.replace(target, old)
    os.replace(beside, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def place_folder(beside: Path, target: Path) -> None:
    """Give a complete folder the name `target`, which must be free or an empty folder.

    Raises FileExistsError for anything else at `target`, which stays as it is. `beside` is then left where it is.
    """
    sync(beside)
    try:
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        elif os.path.lexists(target):
            raise FileExistsError(f"expected nothing at {target}, got a file or a link")
        os.rename(beside, target)  # fails for a folder with content that was made meanwhile
    except OSError as error:
        if not os.path.lexists(target):
            raise
        raise FileExistsError(f"expected nothing or an empty folder at {target}: {error}") from error
    sync(target.parent)


def write_whole(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all (see `replacing`)."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk, on file systems that can tell."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems cannot synchronise folders.
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_abandoned(folder: Path, stem: str) -> None:
    """Remove what killed processes left of the same file, once nobody has written to it for a while."""
    for leftover in folder.glob(f"{glob.escape(stem)}*{UNFINISHED_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > ABANDONED_AFTER:
                leftover.unlink()


def is_unfinished(path: Path) -> bool:
    """Return whether a path is what a killed process left of a file it was writing."""
    return path.name.startswith(".") and path.name.endswith(UNFINISHED_SUFFIX)


def read_object(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file; an empty one without the file.

    Raises FormatError for anything else, and for files of more than `largest` bytes.
    """
    if not path.is_file():
        return {}
    size = path.stat().st_size
    if size > largest:
        raise FormatError(f"{path}: expected at most {largest:,} bytes of JSON, got {size:,}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: expected JSON in UTF-8, got {error}") from error
    return parse_object(text, str(path))


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The object in JSON text, at most `DEEPEST` levels deep; raises FormatError naming `where` for anything else."""
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise FormatError(f"{where}: expected JSON of at most {DEEPEST} levels, got more") from error
    except ValueError as error:
        raise FormatError(f"{where}: expected JSON, got {error}") from error
    if not isinstance(values, dict):
        raise FormatError(f"{where}: expected an object, got {type(values).__name__}")
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        parts = (each.values() if isinstance(each, dict) else each for each in level)
        level = [part for each in parts for part in each if isinstance(part, dict | list)]
    if level:
        raise FormatError(f"{where}: expected JSON of at most {DEEPEST} levels, got more")
    return values
