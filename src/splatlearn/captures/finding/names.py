"""Names of photographs as files have them: perhaps of another machine, never allowed to lead out of a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from splatlearn.core.errors import some_of

LONGEST_SHOWN = 80


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a name without drives, roots, "." and what a ".." takes back.

    Backslashes separate parts too. The result never leads out of a folder: "../a/b" and "C:\\a\\b" are "a", "b".
    """
    kept: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", ".") and not (len(part) == 2 and part[1] == ":" and not kept):
            kept.append(part)
    return tuple(kept)


def stem_of(name: str) -> str:
    """Return a name without the suffix of its last part."""
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def listed(names: Iterable[str], limit: int = 4) -> str:
    """Return the first names and the number of the others, made printable, for a message."""
    names = list(names)
    return some_of([*map(printable, names[:limit]), *names[limit:]], limit)


def printable(name: str) -> str:
    """Return a name for a message, cut short and without characters that are not printed."""
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def count(number: int, thing: str, plural: str = "") -> str:
    """Return a number with a noun: "1 photograph", "3 photographs"."""
    return f"{number:,} {thing if number == 1 else plural or thing + 's'}"
