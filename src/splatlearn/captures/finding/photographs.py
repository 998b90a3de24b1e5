"""Photographs by the names that a capture's files call them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from splatlearn.captures.finding.names import parts_of, stem_of
from splatlearn.images.listing import IMAGE_EXTENSIONS, files_below

LONGEST = 4096
"""Characters of a name that is looked up on disk."""
NO_PHOTOGRAPHS = frozenset(("mask", "masks", "depth", "depths", "normal", "normals", "stereo", "semantics"))
"""Folders whose pictures are taken for photographs only where a name says so."""


class PictureIndex:
    """The pictures of a folder and those below it, found by names that may be inexact.

    `names` has all of them, relative to the folder, with forward slashes. Hidden files are left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = files_below(root, IMAGE_EXTENSIONS)[0] if root.is_dir() else []
        self._known = set(self.names)
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            folded = name.casefold()
            for key in (folded, stem_of(folded)):
                self._whole[key].append(name)
            if not NO_PHOTOGRAPHS.isdisjoint(folded.split("/")):
                continue  # a mask is called as its photograph is
            while "/" in folded:
                folded = folded.partition("/")[2]
                self._ends[folded].append(name)

    def exact(self, name: str) -> str | None:
        """Return the picture of just this name, None where there is none."""
        whole = "/".join(parts_of(name))
        if whole in self._known:
            return whole
        # One of a foreign format, or with a hidden name, is there too, for a message to say what is wrong with it.
        return whole if 0 < len(whole) < LONGEST and (self.root / whole).is_file() else None

    def find(self, name: str, taken: Container[str] = ()) -> str | None:
        """Return the picture that a name means; None where there is none, or more than one.

        It is the first that fits, of those that are not `taken`: in other case; with another suffix, or with one where
        the name has none; below fewer folders than the name has; below more, with the same suffix.
        """
        if (found := self.exact(name)) is not None:
            return found if found not in taken else None
        parts = parts_of(name.casefold())
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        for tail, table in [*((tail, self._whole) for tail in tails), *((tail, self._ends) for tail in tails[:1])]:
            for key in (tail, stem_of(tail) if tail.endswith(IMAGE_EXTENSIONS) else ""):
                close = [each for each in table.get(key, ()) if each not in taken and _differ_in_suffix(each, tail)]
                if len(close) == 1:
                    return close[0]
        return None


def _differ_in_suffix(picture: str, name: str) -> bool:
    """Whether a picture has another suffix than a name at most: `x.jpg.png` is no picture for `x.jpg`."""
    folded = picture.casefold()
    return folded.endswith(name) or not name.endswith(IMAGE_EXTENSIONS) or stem_of(folded).endswith(stem_of(name))


def best_root(roots: Sequence[Path], names: Iterable[str]) -> tuple[PictureIndex, list[str | None]]:
    """Return the index of the folder that has most of the named pictures, and what each name means there.

    The first of `roots` that has all of them ends the search. No picture is taken for another whose name is there.
    """
    wanted = list(names)
    best: tuple[PictureIndex, list[str | None]] | None = None
    most = -1
    for root in dict.fromkeys(roots):
        index = PictureIndex(root)
        found = [index.exact(name) for name in wanted]
        taken = {name for name in found if name is not None}
        for place, name in enumerate(wanted):
            if found[place] is None and (close := index.find(name, taken)) is not None:
                found[place] = close
                taken.add(close)
        number = sum(each is not None for each in found)
        if number > most:
            most, best = number, (index, found)
        if number == len(wanted):
            break
    assert best is not None, "a reader names at least one folder"
    return best
