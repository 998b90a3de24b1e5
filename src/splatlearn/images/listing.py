"""The one place that says which files of a folder are pictures, and counts all others."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from splatlearn.images.errors import DataError
from splatlearn.images.left_out import LeftOut


def _reads_avif() -> bool:
    try:
        from PIL import AvifImagePlugin  # since Pillow 11.3, where it was built with libavif
    except ImportError:
        return False
    return bool(AvifImagePlugin.SUPPORTED)


IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp",
    ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", *((".avif",) if _reads_avif() else ()),
)  # fmt: skip
"""Endings of the files that are taken for pictures, in lower case."""


def images_in(folder: Path) -> tuple[list[Path], LeftOut]:
    """The pictures that lie in a folder itself, in order of their names, and what else lies there.

    Raises OSError for a folder that cannot be listed.
    """
    names, left_out = files_below(folder, IMAGE_EXTENSIONS, deep=False)
    return [folder / name for name in names], left_out


def files_below(root: Path, endings: Collection[str], deep: bool = True) -> tuple[list[str], LeftOut]:
    """The files of some endings in a folder and, if `deep`, below it, and what else is there.

    Names are relative to the folder, with forward slashes, in an order that is the same on every machine. Links are
    followed, and a link to a folder above itself is not: other folders may be met again by another way, and count
    again. Left out and counted are hidden files and folders, folders whose names begin with two underscores, files of
    other endings, what is no file, and folders that cannot be read. Raises DataError for names that are not UTF-8 and
    OSError where `root` cannot be listed.
    """
    found: list[str] = []
    left_out = LeftOut()
    waiting = [("", frozenset({_identity(root)}))]
    while waiting:
        inside, above = waiting.pop()
        try:
            with os.scandir(root / inside) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if not inside:
                raise
            left_out.add("folders that cannot be read", inside)
            continue
        for entry in listed:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if not _is_text(name):
                raise DataError(f"data: expected file names in UTF-8, got {name!a} in {root}; rename the file")
            reason = _reason(entry, endings, deep, above)
            if reason == _FOREIGN:
                left_out.add_file(name)
            elif reason:
                left_out.add(reason, name)
            elif _is(entry.is_dir):
                waiting.append((name, above | {_identity(entry.path)}))
            else:
                found.append(name)
    return sorted(found), left_out


_FOREIGN = "files of another ending"


def _reason(
    entry: os.DirEntry[str], endings: Collection[str], deep: bool, above: frozenset[tuple[int, int]]
) -> str | None:
    """Why an entry of a folder is left out; None where it is not."""
    is_folder = _is(entry.is_dir)
    if entry.name.startswith("."):
        return "hidden folders" if is_folder else "hidden files"
    if is_folder:
        if not deep:
            return "folders inside, which are read if they are named"
        if entry.name.startswith("__"):
            return "folders whose names begin with __"
        return "links to a folder above them" if _identity(entry.path) in above else None
    if PurePosixPath(entry.name).suffix.lower() not in endings:
        return _FOREIGN
    if not _is(entry.is_file):
        return "links to nothing" if entry.is_symlink() else "pipes and devices"
    return None


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
