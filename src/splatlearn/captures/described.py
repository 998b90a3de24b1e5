"""Entries of a capture as its files describe them, before the photographs are looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splatlearn.captures.capture import Points, Split
from splatlearn.captures.lenses import Lens

MILLIMETRE = 1e-3
"""World units for each step of depth maps, as depth cameras and nerfstudio store them."""
LensOfSize = Callable[[int, int], Lens]
"""A function from a picture's width and height to its lens, for files that do not have the size."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One posed photograph as a file describes it.

    - `name`: as the file has it; it may be anything, also a path of another machine.
    - `world_to_camera`: [4, 4], or None where the file has no pose that could be used; `fault` then says why.
    - `lens`: None where the file has none that could be used.
    - `mask`: the name of a mask, as the file has it.
    - `depth`: the name of a depth map below the capture's folder; `depth_unit`: world units for its number 1.
    - `split`: None where the file says nothing.
    """

    name: str
    world_to_camera: NDArray[np.float64] | None
    lens: Lens | LensOfSize | None
    mask: str | None = None
    split: Split | None = None
    fault: str = ""
    depth: str | None = None
    depth_unit: float = MILLIMETRE


@dataclass(frozen=True, eq=False)
class Described:
    """A capture as its files describe it.

    - `layout`: for people, such as "COLMAP text".
    - `entries`: in the order of the files. `points.tracks` has indices into them.
    - `roots`: folders below which the photographs may lie, the likeliest first.
    - `lists_all`: whether a photograph beside those of the entries is one that could not be posed.
    - `problems`: sentences.
    """

    layout: str
    entries: list[Entry]
    roots: list[Path]
    points: Points = field(default_factory=Points.none)
    lists_all: bool = True
    problems: list[str] = field(default_factory=list)
