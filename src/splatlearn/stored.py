"""Files written whole or not at all, and JSON objects read with errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes that name at the end, and is removed if the writing fails.

    So a reader never meets half a file, and what was there stays until all of the new one is. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Some writers make files that nobody else can read, whatever the umask says.
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all (see `replacing`)."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one without the file. Raises ValueError for anything else."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected an object, got {type(values).__name__}")
    return values
