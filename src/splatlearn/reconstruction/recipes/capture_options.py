"""Options of a reconstruction: which photographs, and how large."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from splatlearn.runs.recipe import check_range


@dataclass(frozen=True)
class CaptureOptions:
    """The photographs."""

    photos: Positional[str]
    """A capture: a folder or zip archive with photographs and their cameras (COLMAP, transforms.json, depth camera)."""
    images: str | None = None
    """Folder of the photographs within the capture, such as images_4. Default: the usual one."""
    hold_out: int | None = None
    """Hold out the first of every n photographs, by name, to score the scene on them; 0: none. Default: the capture's
    own split, or 8."""
    max_size: int | None = None
    """Longer side, in pixels, to which larger photographs are scaled down. Default: 1600; fast: 800."""
    photo_memory: float | None = None
    """Gigabytes of decoded photographs to keep in memory. Default: a third of the free memory."""
    max_unreadable: float = 0.05
    """Largest fraction of photographs that cannot be read, which are left out and named; above it, the run stops."""

    def check(self) -> None:
        """Raise InputError naming the first option outside of its range."""
        check_range("a number above 0", lambda value: value > 0, max_size=self.max_size, photo_memory=self.photo_memory)
        check_range("0, or a number from 2", lambda value: value == 0 or value >= 2, hold_out=self.hold_out)
        check_range("a number from 0 to 1", lambda value: 0 <= value <= 1, max_unreadable=self.max_unreadable)
