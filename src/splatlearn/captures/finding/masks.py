"""Masks that lie beside photographs, by the conventions of COLMAP and of others."""

from __future__ import annotations

from pathlib import Path

from splatlearn.captures.finding.names import parts_of, stem_of
from splatlearn.captures.finding.photographs import PictureIndex

FOLDERS = ("masks", "mask", "Masks")


class MaskIndex:
    """The masks of a capture: in `masks/` beside the photographs, called `x.jpg.png` (COLMAP's way) or `x.png`."""

    def __init__(self, places: list[Path]) -> None:
        folders = [place / name for place in places for name in FOLDERS]
        self.folder = next((folder for folder in folders if folder.is_dir()), None)
        self.index = PictureIndex(self.folder) if self.folder else None
        self._by_name: dict[str, str] = {}
        for mask in self.index.names if self.index else ():
            self._by_name[mask.casefold()] = mask
        for mask in self.index.names if self.index else ():
            self._by_name.setdefault(stem_of(mask).casefold(), mask)

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def find(self, photograph: str) -> Path | None:
        """Return the mask of a photograph, None where it has none."""
        if not self._by_name or self.folder is None:
            return None
        parts = parts_of(photograph)
        for start in range(len(parts)):
            name = "/".join(parts[start:]).casefold()
            for key in (f"{name}.png", name, stem_of(name)):
                if key in self._by_name:
                    return self.folder / self._by_name[key]
        return None
