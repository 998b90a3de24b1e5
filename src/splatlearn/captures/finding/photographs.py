"""Photographs by the names that a capture's files call them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from splatlearn.captures.finding.names import parts_of, stem_of
from splatlearn.images.listing import IMAGE_EXTENSIONS, files_below


class PictureIndex:
    """The pictures of a folder and those below it, found by names that may be inexact.

    `names` has all of them, relative to the folder, with forward slashes. Hidden files are left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = files_below(root, IMAGE_EXTENSIONS)[0] if root.is_dir() else []
        self._known = set(self.names)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            parts = name.split("/")
            # Every end of the path is a key: files may name more folders than there are, or fewer.
            for start in range(len(parts)):
                tail = "/".join(parts[start:]).casefold()
                self._by_key[tail].append(name)
                if (stem := stem_of(tail)) != tail:
                    self._by_key[stem].append(name)

    def find(self, name: str) -> str | None:
        """Return the picture that a name means; None where there is none, or more than one.

        The first of these that a single picture fits: the name itself; in other case; without its suffix, or with one
        where the file has none; below other folders.
        """
        parts = parts_of(name)
        whole = "/".join(parts)
        if whole in self._known:
            return whole
        if len(whole) < 4096 and whole and (self.root / whole).is_file():
            return whole  # a picture of a foreign format, or with a hidden name
        for start in range(len(parts)):
            tail = "/".join(parts[start:]).casefold()
            for key in (tail, stem_of(tail)):
                found = self._by_key.get(key, [])
                if len(found) == 1:
                    return found[0]
                exact = [each for each in found if each.casefold() in (tail, whole.casefold())]
                if len(exact) == 1:
                    return exact[0]
        return None


def best_root(roots: Sequence[Path], names: Iterable[str]) -> tuple[PictureIndex, list[str | None]]:
    """Return the index of the folder that has most of the named pictures, and what each name means there.

    The first of `roots` that has all of them ends the search.
    """
    wanted = list(names)
    best: tuple[PictureIndex, list[str | None]] | None = None
    most = -1
    for root in roots:
        index = PictureIndex(root)
        found = [index.find(name) for name in wanted]
        number = sum(each is not None for each in found)
        if number > most:
            most, best = number, (index, found)
        if number == len(wanted):
            break
    assert best is not None, "a reader names at least one folder"
    return best
